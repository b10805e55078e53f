import { useSignal } from "@preact/signals";
import { useId, useRef } from "preact/hooks";
import { usePage } from "../context";
import { Dialog } from "./Dialog";

/** Asks for the bearer token of the service. */
export function SignIn() {
  const { chat } = usePage();
  const field = useRef<HTMLInputElement>(null);
  const busy = useSignal(false);
  const id = useId();
  const refused = chat.signIn.value === "refused";
  const enter = async () => {
    const token = field.current?.value.trim() ?? "";
    if (token === "" || busy.value) return;
    busy.value = true;
    try {
      await chat.enterToken(token);
    } finally {
      busy.value = false;
      if (field.current !== null) {
        field.current.value = "";
        field.current.focus();
      }
    }
  };
  return (
    <Dialog title="Sign in">
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void enter();
        }}
      >
        <p>
          This service answers only with an access token. Its operator has one for you. The page keeps it
          until you close this tab.
        </p>
        <div class="form-row">
          <label for={id}>Access token</label>
          <input
            id={id}
            ref={field}
            class="field"
            type="password"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            required
            aria-invalid={refused}
            aria-describedby={refused ? `${id}-error` : undefined}
          />
          {refused && (
            <p class="form-error" id={`${id}-error`} role="alert">
              The service refused this token. Check that it is whole and that it has not expired.
            </p>
          )}
        </div>
        <div class="buttons">
          <button type="submit" class="button primary" disabled={busy.value}>
            {busy.value ? "Signing in …" : "Sign in"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

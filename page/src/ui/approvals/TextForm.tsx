import { useId, useLayoutEffect, useRef } from "preact/hooks";

interface Props {
  label: string;
  help?: string;
  /** What the field holds first. */
  text?: string;
  required: boolean;
  submit: string;
  onCancel: () => void;
  onDone: (text: string) => void;
}

/** One text and a button: the reason of a rejection, or the answer to a question. */
export function TextForm({ label, help, text = "", required, submit, onCancel, onDone }: Props) {
  const field = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  useLayoutEffect(() => field.current?.focus(), []);
  const done = () => {
    const written = field.current?.value.trim() ?? "";
    if (written === "" && required) field.current?.focus();
    else onDone(written);
  };
  return (
    <form
      class="form"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        done();
      }}
    >
      <div class="form-row">
        <label for={id}>{label}</label>
        <textarea
          ref={field}
          id={id}
          class="field"
          rows={2}
          defaultValue={text}
          dir="auto"
          required={required}
          aria-describedby={help === undefined ? undefined : `${id}-help`}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            done();
          }}
        />
        {help !== undefined && (
          <p class="form-help" id={`${id}-help`}>
            {help}
          </p>
        )}
      </div>
      <div class="buttons">
        <button type="submit" class="button primary">
          {submit}
        </button>
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}

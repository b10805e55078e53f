import { useLayoutEffect, useRef } from "preact/hooks";
import { growToFit, isSendKey } from "../textField";

interface Props {
  text: string;
  disabled: boolean;
  onCancel: () => void;
  onSend: (text: string) => void;
}

/** Changes a message in its place. The old version stays, as another branch. */
export function MessageEditor({ text, disabled, onCancel, onSend }: Props) {
  const field = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const area = field.current;
    if (area === null) return;
    growToFit(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }, []);
  const send = () => {
    const changed = field.current?.value.trim() ?? "";
    if (changed !== "" && !disabled) onSend(changed);
  };
  return (
    <form
      class="said-edit"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={field}
        class="field"
        aria-label="Your message"
        dir="auto"
        defaultValue={text}
        onInput={(event) => growToFit(event.currentTarget)}
        onKeyDown={(event) => {
          if (isSendKey(event)) {
            event.preventDefault();
            send();
          } else if (event.key === "Escape" && !event.isComposing) {
            event.stopPropagation();
            onCancel();
          }
        }}
      />
      <div class="buttons">
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" class="button primary" disabled={disabled}>
          Send
        </button>
      </div>
    </form>
  );
}

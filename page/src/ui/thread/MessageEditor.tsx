import { useSignal } from "@preact/signals";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { Attachment } from "../../conversation/model";
import { AddFiles } from "../attachments/AddFiles";
import { carriesFiles, droppedFiles, pastedFiles } from "../attachments/carried";
import { TrayView } from "../attachments/TrayView";
import { refusalOf, termsOf } from "../attachments/terms";
import { Tray } from "../attachments/tray";
import { usePage } from "../context";
import { growToFit, isSendKey } from "../textField";

interface Props {
  text: string;
  attachments: readonly Attachment[];
  disabled: boolean;
  onCancel: () => void;
  onSend: (text: string, attachments: readonly Attachment[]) => void;
}

/** Changes a message in its place. The old version stays, as another branch. */
export function MessageEditor({ text, attachments, disabled, onCancel, onSend }: Props) {
  const { chat, announce } = usePage();
  const field = useRef<HTMLTextAreaElement>(null);
  const tray = useMemo(() => new Tray(attachments), []);
  const changed = useSignal(text);
  const terms = termsOf(chat);
  const entries = tray.entries.value;
  const refusal = refusalOf(terms, changed.value.trim(), entries);
  useLayoutEffect(() => {
    const area = field.current;
    if (area === null) return;
    growToFit(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }, []);
  const add = async (files: readonly File[]) => {
    const added = await tray.add(files, terms, changed.peek());
    if (added.length > 0) announce(`Added ${added.join(", ")}.`);
  };
  const blank = changed.value.trim() === "" && entries.length === 0;
  const locked = disabled || blank || refusal !== null || tray.reading.value;
  const send = () => {
    if (!locked) onSend(changed.peek().trim(), tray.entries.peek());
  };
  return (
    <form
      class="said-edit"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onDragOver={(event) => {
        if (carriesFiles(event)) event.preventDefault();
      }}
      onDrop={(event) => {
        if (!carriesFiles(event)) return;
        event.preventDefault();
        void add(droppedFiles(event));
      }}
    >
      <TrayView tray={tray} refusal={refusal} onEmpty={() => field.current?.focus()} />
      <textarea
        ref={field}
        class="field"
        aria-label="Your message"
        dir="auto"
        defaultValue={text}
        onInput={(event) => {
          changed.value = event.currentTarget.value;
          growToFit(event.currentTarget);
        }}
        onPaste={(event) => {
          const files = pastedFiles(event);
          if (files.length === 0) return;
          event.preventDefault();
          void add(files);
        }}
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
        <AddFiles terms={terms} disabled={disabled} onFiles={add} />
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" class="button primary" disabled={locked}>
          Send
        </button>
      </div>
    </form>
  );
}

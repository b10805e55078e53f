import { useRef } from "preact/hooks";
import { canBeShown } from "../../conversation/attachments";
import type { Attachment } from "../../conversation/model";
import { usePage } from "../context";
import { focusWhenDrawn } from "../focus";
import { CloseIcon, FileIcon } from "../Icons";
import { formatBytes } from "./terms";
import type { Tray } from "./tray";

interface Props {
  tray: Tray;
  /** Why the message cannot be sent as it is. */
  refusal: string | null;
  /** The last one was removed, and the focus with it. */
  onEmpty: () => void;
}

/** What is going to be sent beside the text, and what was not added. */
export function TrayView({ tray, refusal, onEmpty }: Props) {
  const { announce } = usePage();
  const list = useRef<HTMLUListElement>(null);
  const entries = tray.entries.value;
  const words = [...tray.refusals.value, ...(refusal === null ? [] : [refusal])];
  const remove = (entry: Attachment, index: number) => {
    tray.remove(entry);
    announce(`Removed ${entry.name}.`);
    if (entries.length === 1) {
      onEmpty();
      return;
    }
    focusWhenDrawn(() => {
      const buttons = list.current?.querySelectorAll("button") ?? [];
      return buttons[Math.min(index, buttons.length - 1)];
    });
  };
  return (
    <>
      {words.length > 0 && (
        <div class="notice problem" role="alert">
          <div class="notice-words">
            {words.map((one) => (
              <p key={one} dir="auto">
                {one}
              </p>
            ))}
          </div>
        </div>
      )}
      {tray.reading.value && (
        <p class="cursor-line" role="status">
          <span class="spinner" />
          Reading …
        </p>
      )}
      {entries.length > 0 && (
        <ul class="tray" aria-label="Images and files to send" ref={list}>
          {entries.map((entry, index) => (
            <li key={entry.url.length + entry.name + index} class="tray-entry">
              {canBeShown(entry) ? <img src={entry.url} alt="" /> : <FileIcon />}
              <span class="tray-name" dir="auto" title={entry.name}>
                {entry.name}
              </span>
              {entry.bytes !== null && <span class="muted">{formatBytes(entry.bytes)}</span>}
              <button
                type="button"
                class="icon-button small"
                aria-label={`Remove ${entry.name}`}
                title="Remove"
                onClick={() => remove(entry, index)}
              >
                <CloseIcon />
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

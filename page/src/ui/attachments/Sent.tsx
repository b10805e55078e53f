import { useSignal } from "@preact/signals";
import { canBeSaved, canBeShown } from "../../conversation/attachments";
import type { Attachment } from "../../conversation/model";
import { webAddress } from "../answer/Sources";
import { Dialog } from "../dialogs/Dialog";
import { FileIcon } from "../Icons";
import { formatBytes } from "./terms";

/** The images and files of a message that was sent. */
export function Sent({ attachments }: { attachments: readonly Attachment[] }) {
  const shown = useSignal<number | null>(null);
  if (attachments.length === 0) return null;
  const large = shown.value === null ? undefined : attachments[shown.value];
  const close = () => {
    shown.value = null;
  };
  return (
    <>
      <ul class="sent" aria-label="Images and files">
        {attachments.map((one, index) => (
          <li key={one.url.length + one.name + index}>
            {canBeShown(one) ? (
              <button
                type="button"
                class="sent-image"
                title="Show the image"
                onClick={() => {
                  shown.value = index;
                }}
              >
                <img src={one.url} alt={labelOf(attachments, one)} decoding="async" />
              </button>
            ) : (
              <SentFile attachment={one} />
            )}
          </li>
        ))}
      </ul>
      {large !== undefined && (
        <Dialog title={labelOf(attachments, large)} onClose={close} wide>
          <img class="large-image" src={large.url} alt="" />
          <div class="buttons">
            <button type="button" class="button" onClick={close}>
              Close
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}

function SentFile({ attachment }: { attachment: Attachment }) {
  const { name, url, bytes } = attachment;
  const words = (
    <>
      <FileIcon />
      <span class="tray-name" dir="auto">
        {name}
      </span>
      {bytes !== null && <span class="muted">{formatBytes(bytes)}</span>}
    </>
  );
  if (canBeSaved(attachment)) {
    return (
      <a class="tray-entry" href={url} download={name} title={`Save ${name}`}>
        {words}
      </a>
    );
  }
  const address = webAddress(url);
  if (address === null) return <span class="tray-entry">{words}</span>;
  return (
    // A link, because loading the image would tell its host who reads it.
    <a class="tray-entry" href={address.href} target="_blank" rel="noopener noreferrer nofollow">
      {words}
      <span class="muted">{address.host}</span>
    </a>
  );
}

/** Stored images have no names. */
function labelOf(all: readonly Attachment[], one: Attachment): string {
  const images = all.filter((other) => other.kind === "image" && other.name === one.name);
  return images.length > 1 ? `${one.name} ${images.indexOf(one) + 1}` : one.name;
}

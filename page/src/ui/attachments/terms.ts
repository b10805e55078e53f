/** What a message may hold beside its text, in words before anything is sent. */

import type { Attachment, Chat } from "../../conversation/model";

/** Images and files of one message. */
export const MOST = 10;

/** What the service takes by default, for a service that does not say it. */
const MAX_BODY_BYTES = 8_388_608;

/** The request around the message. */
const AROUND = 2048;

export interface Terms {
  /** What the chosen graph takes. */
  images: boolean;
  files: boolean;
  /** The name of the graph. */
  assistant: string;
  /** The largest request. */
  maxBytes: number;
}

/** What the next message may hold. */
export function termsOf(chat: Chat): Terms {
  const model = chat.models.value.find((one) => one.id === chat.model.value);
  return {
    images: model?.accepts.images === true,
    files: model?.accepts.files === true,
    assistant: model?.name ?? "The assistant",
    maxBytes: chat.settings.value.max_body_bytes ?? MAX_BODY_BYTES,
  };
}

/** How many bytes a request with this message has, or a little fewer. */
export function bytesOf(text: string, attachments: readonly Attachment[]): number {
  const encoder = new TextEncoder();
  const length = (value: string) => encoder.encode(JSON.stringify(value)).length;
  // A `data:` URL has one byte a character.
  return attachments.reduce(
    (sum, { name, url }) => sum + length(name) + url.length + 100,
    AROUND + length(text),
  );
}

/** How many bytes a file takes in a request. */
export function encodedBytes(bytes: number): number {
  return 4 * Math.ceil(bytes / 3);
}

/** The most bytes of images and files. */
export function mostBytes({ maxBytes }: Terms): number {
  return Math.max(0, Math.floor(((maxBytes - AROUND) * 3) / 4));
}

/** What the graph takes, as the name of the button that adds it. `null` if it takes neither. */
export function offerOf({ images, files }: Terms): string | null {
  if (images && files) return "Add images or files";
  if (images) return "Add images";
  return files ? "Add files" : null;
}

export function takesNone({ assistant }: Terms): string {
  return `${assistant} takes no images and no files. Write what they say, or choose another assistant.`;
}

/** Why a message cannot be sent. `null` if it can. */
export function refusalOf(terms: Terms, text: string, attachments: readonly Attachment[]): string | null {
  const { assistant, images, files } = terms;
  if (attachments.length > 0 && !images && !files) {
    return `${assistant} takes no images and no files. Remove them, or choose another assistant.`;
  }
  const missing = [...(images ? [] : ["image"]), ...(files ? [] : ["file"])];
  for (const { kind } of attachments) {
    if (missing.includes(kind))
      return `${assistant} takes no ${kind}s. Remove them, or choose another assistant.`;
  }
  if (attachments.length > MOST) return `A message takes at most ${MOST} images and files. Remove some.`;
  if (bytesOf(text, attachments) <= terms.maxBytes) return null;
  return attachments.length === 0
    ? `The message is too long. The service takes at most ${formatBytes(terms.maxBytes - AROUND)}.`
    : `The message is too large. It takes ${formatBytes(mostBytes(terms))} of images, files and text. Remove some.`;
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  if (bytes < 999_500) return `${Math.round(bytes / 1000)} KB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** Images and files of messages: how requests hold them, and what a stored request shows. */

import type { Attachment } from "./model";

/** A part of the content of a message. */
export interface Content {
  type: string;
  text?: string;
  image_url?: string | { url?: unknown };
  filename?: string;
  file_data?: string;
}

/** Images that browsers and models show. The page shows no others: an SVG is a program. */
const SHOWN = /^data:image\/(?:png|jpeg|gif|webp);base64,/;

/** The bytes of a `data:` URL in base64. */
const BASE64 = /^data:[^,]{0,200};base64,/;

export function partOf({ kind, name, url }: Attachment): Content {
  return kind === "image"
    ? { type: "input_image", image_url: url }
    : { type: "input_file", filename: name, file_data: url };
}

/** What a part shows. `null` for text, and for what the page does not know. */
export function attachmentOf(part: Content): Attachment | null {
  if (part.type === "input_image" || part.type === "image_url") {
    const address = typeof part.image_url === "object" ? part.image_url?.url : part.image_url;
    if (typeof address !== "string") return null;
    return { kind: "image", name: "Image", url: address, bytes: bytesIn(address) };
  }
  if (part.type !== "input_file" || typeof part.file_data !== "string") return null;
  const name = typeof part.filename === "string" && part.filename !== "" ? part.filename : "File";
  return { kind: "file", name, url: part.file_data, bytes: bytesIn(part.file_data) };
}

/** Whether the page may show an image. One at an address would be loaded from there, and tell who reads it. */
export function canBeShown({ kind, url }: Attachment): boolean {
  return kind === "image" && SHOWN.test(url);
}

/** Whether the content of a file is here, so that it can be saved. */
export function canBeSaved({ kind, url }: Attachment): boolean {
  return kind === "file" && BASE64.test(url);
}

function bytesIn(url: string): number | null {
  const head = BASE64.exec(url)?.[0];
  if (head === undefined) return null;
  const padding = url.endsWith("==") ? 2 : url.endsWith("=") ? 1 : 0;
  return Math.max(0, Math.floor(((url.length - head.length) * 3) / 4) - padding);
}

/** Reads the files that a person adds. */

import type { Attachment } from "../../conversation/model";

const LONGEST_NAME = 200;

/** Files without a type whose names say that they are text. */
const TEXT =
  /\.(?:txt|md|markdown|log|csv|tsv|json|jsonl|ya?ml|toml|ini|xml|html?|css|[jt]sx?|py|r|sql|sh|java|go|rs|c|h|cpp)$/i;

export function nameOf({ name }: File): string {
  if (name.length <= LONGEST_NAME) return name || "File";
  // The end of a name says what it is.
  return `${name.slice(0, LONGEST_NAME - 20)}…${name.slice(-19)}`;
}

/** The type of an image that browsers and models show, from its first bytes: names and declared types may be wrong. */
export async function imageTypeOf(file: File): Promise<string | null> {
  const head = new Uint8Array(await file.slice(0, 12).arrayBuffer());
  const text = String.fromCharCode(...head);
  if (text.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (text.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (text.startsWith("GIF87a") || text.startsWith("GIF89a")) return "image/gif";
  return text.startsWith("RIFF") && text.slice(8) === "WEBP" ? "image/webp" : null;
}

/** Read a file whole. Rejects if the browser cannot, such as for a folder. */
export async function readFile(
  file: File,
  kind: Attachment["kind"],
  imageType: string | null,
): Promise<Attachment> {
  const type = imageType ?? (file.type || (TEXT.test(file.name) ? "text/plain" : "application/octet-stream"));
  const url = await dataUrlOf(new Blob([file], { type }));
  return { kind, name: nameOf(file), url, bytes: file.size };
}

function dataUrlOf(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Citations as the service sends them, turned into places of a JavaScript string and numbers for readers. */

import type { FoundDocument, Source, UrlCitation } from "../api/wire";
import type { Citation } from "./model";

/** What is known of a passage. */
export interface Passage {
  number: number | null;
  url: string;
  title: string;
  text: string | null;
}

const MARKER = /^\s?\[([\d,\s]{1,64})\]$/;
const SURROGATE = /[\ud800-\udfff]/;

/**
 * The citations of a text, in the order of their places. A marker such as `[2, 5]` stands for one citation for each of
 * its numbers. A citation without a marker gets the number of its source, or the next free one.
 */
export function citationsIn(
  text: string,
  annotations: readonly UrlCitation[],
  passages: readonly Passage[],
): Citation[] {
  const valid = annotations.filter(isCitation);
  const at = placesIn(
    text,
    valid.flatMap((one) => [one.start_index, one.end_index]),
  );
  const marked = new Map<string, number[]>();
  const given = new Map<string, number>();
  const found: Citation[] = [];
  for (const [index, one] of valid.entries()) {
    const start = at[2 * index] ?? text.length;
    const end = Math.max(start, at[2 * index + 1] ?? text.length);
    const url = one.url ?? "";
    const title = one.title || url;
    const place = `${start}:${end}`;
    const numbers = marked.get(place) ?? numbersIn(text.slice(start, end));
    const marker = numbers.shift();
    marked.set(place, numbers);
    const same = passages.filter(
      (passage) => passage.url === url && (!one.title || passage.title === one.title),
    );
    const known = same.find((passage) => passage.number !== null && passage.number === marker) ?? same[0];
    const key = `${url}\n${title}`;
    const number = marker ?? known?.number ?? given.get(key) ?? free(given, found, passages);
    given.set(key, given.get(key) ?? number);
    found.push({ start, end, number, url, title, passage: known?.text ?? null });
  }
  return found.sort((a, b) => a.start - b.start || a.end - b.end);
}

/** Everything that is known of passages: from the sources of the response, and from documents as they were found. */
export function passagesOf(sources: readonly Source[], documents: readonly FoundDocument[]): Passage[] {
  const found = sources.map((one) => ({
    number: one.number,
    url: one.doc_uri ?? "",
    title: one.title ?? "",
    text: one.text ?? documents.find((document) => isSame(document, one))?.text ?? null,
  }));
  const numbers = new Set(sources.map((one) => one.number));
  for (const one of documents) {
    if (one.number != null && numbers.has(one.number)) continue;
    found.push({ number: one.number ?? 0, url: one.url ?? "", title: one.title ?? "", text: one.text });
  }
  return found.map((one) => ({ ...one, number: one.number === 0 ? null : one.number }));
}

function isSame(document: FoundDocument, source: Source): boolean {
  if (document.number != null) return document.number === source.number;
  return document.id != null && document.id === source.chunk_id;
}

/** Places in UTF-16 units for places in code points. Places beyond the text mean its end. */
export function placesIn(text: string, codePoints: readonly number[]): number[] {
  if (!SURROGATE.test(text)) return codePoints.map((place) => Math.min(Math.max(place, 0), text.length));
  const order = [...codePoints.keys()].sort((a, b) => (codePoints[a] ?? 0) - (codePoints[b] ?? 0));
  const places = new Array<number>(codePoints.length).fill(text.length);
  let unit = 0;
  let point = 0;
  for (const index of order) {
    const wanted = codePoints[index] ?? 0;
    while (point < wanted && unit < text.length) {
      unit += (text.codePointAt(unit) ?? 0) > 0xffff ? 2 : 1;
      point += 1;
    }
    places[index] = unit;
  }
  return places;
}

function numbersIn(marker: string): number[] {
  return (MARKER.exec(marker)?.[1]?.match(/\d{1,6}/g) ?? []).map(Number);
}

function free(given: Map<string, number>, found: readonly Citation[], passages: readonly Passage[]): number {
  const taken = [
    ...given.values(),
    ...found.map((one) => one.number),
    ...passages.map((one) => one.number ?? 0),
  ];
  return Math.max(0, ...taken) + 1;
}

function isCitation(one: UrlCitation): boolean {
  return (
    one?.type === "url_citation" &&
    Number.isSafeInteger(one.start_index) &&
    Number.isSafeInteger(one.end_index)
  );
}

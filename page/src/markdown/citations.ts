/** Which citations stand in which part of a text. */

import type { Citation } from "../conversation/model";

export type Citations = readonly Citation[];

/** In the order of the text. Citations of the same place keep their order. */
export function sorted(citations: Citations): Citations {
  return citations
    .filter((one) => one.start >= 0 && one.end >= one.start)
    .sort((a, b) => a.end - b.end || a.start - b.start);
}

/** The citations that end after `from` and not after `to`. The input is sorted. */
export function within(citations: Citations, from: number, to: number): Citations {
  if (citations.length === 0) {
    return citations;
  }
  const first = firstAfter(citations, from);
  const end = firstAfter(citations, to);
  return first === 0 && end === citations.length ? citations : citations.slice(first, end);
}

/** The index of the first citation that ends after `at`. */
function firstAfter(citations: Citations, at: number): number {
  let low = 0;
  let high = citations.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((citations[middle]?.end ?? 0) > at) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

export function same(one: Citations, other: Citations): boolean {
  return (
    one === other ||
    (one.length === other.length &&
      one.every((citation, at) => {
        const twin = other[at];
        return (
          twin !== undefined &&
          citation.start === twin.start &&
          citation.end === twin.end &&
          citation.number === twin.number &&
          citation.url === twin.url &&
          citation.title === twin.title &&
          citation.passage === twin.passage
        );
      }))
  );
}

const MARKER = /^\s*(?:[[(【][\d\s,;^†–-]{0,64}[\])】])?\s*$/;

/** Whether the cited text is only a marker, such as `[2]`, and not words that a reader needs. */
export function isMarker(text: string): boolean {
  return text.length <= 80 && MARKER.test(text);
}

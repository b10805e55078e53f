/** The text inside of a paragraph, a heading or a cell, in pieces of bounded size. */

import { type Block, childrenOf } from "./growing_document";

/**
 * The longest piece that is parsed and laid out at once, in UTF-16 units. Some rules of inline content take a time that
 * is quadratic in the length of a piece, and so does the layout of text without spaces.
 */
export const LONGEST_PIECE = 4_000;

/** A piece of text and where it begins in the whole text. The text has the length of its source. */
export interface Piece {
  text: string;
  from: number;
}

/** The inside of a block, with the marks of quotes as spaces and without the marks of the block itself. */
export function insideOf(block: Block, source: string): Piece {
  let { from, to } = block;
  const parts: string[] = [];
  let at = from;
  for (const mark of childrenOf(block.tree, block.from)) {
    if (mark.name === "HeaderMark" && mark.from === block.from) {
      from = mark.to;
    } else if (mark.name === "HeaderMark") {
      to = Math.min(to, mark.from);
    } else if (mark.name === "TaskMarker") {
      from = mark.to;
    } else if (mark.name === "QuoteMark") {
      parts.push(source.slice(at, mark.from), " ");
      at = mark.to;
    }
  }
  parts.push(source.slice(at, block.to));
  const text = parts.join("").slice(from - block.from, to - block.from);
  const trimmed = text.trimStart();
  return { text: trimmed.trimEnd(), from: from + text.length - trimmed.length };
}

/** The piece cut at spaces into pieces of at most `LONGEST_PIECE`, the same ones however far the text has grown. */
export function piecesOf(whole: Piece): Piece[] {
  const { text, from } = whole;
  const pieces: Piece[] = [];
  let at = 0;
  while (text.length - at > LONGEST_PIECE) {
    let end = at + LONGEST_PIECE;
    // Only the second half is searched: a search in the whole text would go back to its beginning for each piece.
    const half = at + LONGEST_PIECE / 2;
    const late = text.slice(half, end);
    const space = Math.max(late.lastIndexOf(" "), late.lastIndexOf("\n"));
    if (space >= 0) {
      end = half + space + 1;
    } else if (isHighSurrogate(text.charCodeAt(end - 1))) {
      end--;
    }
    pieces.push({ text: text.slice(at, end), from: from + at });
    at = end;
  }
  pieces.push({ text: at === 0 ? text : text.slice(at), from: from + at });
  return pieces;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

/** Whether the text is little but marks. It is shown as it is written: no person reads it, and each mark costs time. */
export function isDense(text: string): boolean {
  const length = text.length;
  return length > 400 && (text.match(/[*_~`[\]<&$\\]/g)?.length ?? 0) > length * 0.3;
}

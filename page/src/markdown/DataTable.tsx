/** Tables. Their rows are lines, so that a table of many rows is read only as far as it is shown. */

import { useState } from "preact/hooks";
import { remembered } from "../remembered";
import { readableCode } from "./characters";
import { type Citations, same, within } from "./citations";
import { Inline } from "./Inline";
import { LONGEST_PIECE, type Piece, piecesOf } from "./leaf";
import { useGradually } from "./pace";

/** How many rows are shown at first, and how many more each time the reader asks. */
const ROWS = 200;

const GROUP = 20;

/** Wider tables are shown as they are written. */
const MOST_COLUMNS = 60;

type Alignment = "left" | "center" | "right" | null;

interface DataTableProps {
  source: string;
  from: number;
  citations: Citations;
}

function Shown({ source, from, citations }: DataTableProps) {
  const [allowed, setAllowed] = useState(ROWS);
  const [header, delimiter, ...rows] = linesOf(source, from, allowed + 2);
  const total = Math.max(0, count(source, "\n") - 1);
  const groups: Piece[][] = [];
  for (let at = 0; at < rows.length; at += GROUP) {
    groups.push(rows.slice(at, at + GROUP));
  }
  const shown = useGradually(groups.length, 1);
  if (header === undefined || delimiter === undefined) {
    return null;
  }
  const alignments = cellsOf(delimiter).map((cell) => alignmentOf(cell.text));
  if (alignments.length > MOST_COLUMNS) {
    return <Wide source={source} from={from} />;
  }
  const more = Math.min(ROWS, total - allowed);
  return (
    <div class="md-table">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by the keyboard */}
      <section class="md-table-scroll" aria-label="Table" tabIndex={0}>
        <table aria-rowcount={total > allowed ? total + 1 : undefined}>
          <thead>
            <Row line={header} alignments={alignments} citations={upTo(citations, header)} head />
          </thead>
          {rows.length > 0 && (
            <tbody>
              {groups.slice(0, shown).map((group) => (
                <RowGroup key={group[0]?.from} rows={group} alignments={alignments} citations={citations} />
              ))}
            </tbody>
          )}
        </table>
      </section>
      {more > 0 && (
        <button type="button" onClick={() => setAllowed(allowed + ROWS)}>
          Show {more} more rows
          <span class="md-muted"> ({(total - allowed).toLocaleString()} hidden)</span>
        </button>
      )}
    </div>
  );
}

export const DataTable = remembered(
  Shown,
  (one: DataTableProps, other: DataTableProps) =>
    one.from === other.from && one.source === other.source && same(one.citations, other.citations),
);

/** The first lines of a table, without the marks of a quote before them. */
function linesOf(source: string, from: number, most: number): Piece[] {
  const lines: Piece[] = [];
  for (let at = 0; at <= source.length && lines.length < most; ) {
    const found = source.indexOf("\n", at);
    const end = found < 0 ? source.length : found;
    const line = source.slice(at, end);
    const start = lines.length === 0 ? 0 : (/^[\s>]*/.exec(line)?.[0].length ?? 0);
    lines.push({ text: line.slice(start), from: from + at + start });
    at = end + 1;
  }
  return lines;
}

function count(text: string, character: string): number {
  let found = 0;
  for (let at = text.indexOf(character); at >= 0; at = text.indexOf(character, at + 1)) {
    found++;
  }
  return found;
}

/** What stands between the bars of a line. */
function cellsOf(line: Piece): Piece[] {
  const { text, from } = line;
  const cells: Piece[] = [];
  const end = text.trimEnd().length;
  let start = text.startsWith("|") ? 1 : 0;
  for (let at = start; at < end && cells.length <= MOST_COLUMNS; at++) {
    const unit = text.charAt(at);
    if (unit === "\\") {
      at++;
    } else if (unit === "|") {
      cells.push(trimmed(text.slice(start, at), from + start));
      start = at + 1;
    }
  }
  if (start < end && cells.length <= MOST_COLUMNS) {
    cells.push(trimmed(text.slice(start, end), from + start));
  }
  return cells;
}

function trimmed(text: string, from: number): Piece {
  const inner = text.trimStart();
  return { text: inner.trimEnd(), from: from + text.length - inner.length };
}

function alignmentOf(mark: string): Alignment {
  const left = mark.startsWith(":");
  const right = mark.endsWith(":");
  return left && right ? "center" : right ? "right" : left ? "left" : null;
}

function upTo(citations: Citations, line: Piece): Citations {
  return within(citations, line.from - 1, line.from + line.text.length);
}

interface RowGroupProps {
  rows: readonly Piece[];
  alignments: readonly Alignment[];
  citations: Citations;
}

const RowGroup = remembered(
  ({ rows, alignments, citations }: RowGroupProps) => (
    <>
      {rows.map((line) => (
        <Row key={line.from} line={line} alignments={alignments} citations={upTo(citations, line)} />
      ))}
    </>
  ),
  (one: RowGroupProps, other: RowGroupProps) =>
    one.rows.length === other.rows.length &&
    one.rows.every((row, at) => row.text === other.rows[at]?.text) &&
    one.alignments.join() === other.alignments.join() &&
    same(one.citations, other.citations),
);

interface RowProps {
  line: Piece;
  alignments: readonly Alignment[];
  citations: Citations;
  head?: boolean;
}

function Row({ line, alignments, citations, head = false }: RowProps) {
  const cells = cellsOf(line);
  const Cell = head ? "th" : "td";
  return (
    <tr>
      {alignments.map((alignment, at) => {
        const cell = cells[at];
        const until =
          at === alignments.length - 1 ? Number.POSITIVE_INFINITY : (cells[at + 1]?.from ?? 0) - 1;
        return (
          <Cell
            key={at}
            dir="auto"
            scope={head ? "col" : undefined}
            class={alignment === null ? undefined : `md-${alignment}`}
          >
            {cell !== undefined && (
              <CellText cell={cell} citations={within(citations, at === 0 ? -1 : cell.from - 1, until)} />
            )}
          </Cell>
        );
      })}
    </tr>
  );
}

/** A cell is as long as its line, and a line has no bound. */
function CellText({ cell, citations }: { cell: Piece; citations: Citations }) {
  if (cell.text.length <= LONGEST_PIECE) {
    return <Inline piece={cell} citations={citations} cell />;
  }
  return <Long whole={cell} citations={citations} />;
}

function Long({ whole, citations }: { whole: Piece; citations: Citations }) {
  const pieces = piecesOf(whole);
  const shown = useGradually(pieces.length, 1);
  return (
    <>
      {pieces.slice(0, shown).map((piece) => (
        <p key={piece.from} class="md-piece" dir="auto">
          <Inline
            piece={piece}
            citations={within(citations, piece.from, piece.from + piece.text.length)}
            cell
          />
        </p>
      ))}
    </>
  );
}

function Wide({ source, from }: { source: string; from: number }) {
  const pieces = piecesOf({ text: source, from });
  const shown = useGradually(pieces.length, 1);
  return (
    <div class="md-verbatim">
      {pieces.slice(0, shown).map((piece) => (
        <p key={piece.from} class="md-piece" dir="auto">
          {readableCode(piece.text)}
        </p>
      ))}
    </div>
  );
}

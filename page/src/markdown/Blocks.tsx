/** Blocks of an answer: what stands below each other. */

import { type ComponentChildren, Fragment, type FunctionComponent } from "preact";
import { useContext } from "preact/hooks";
import { remembered } from "../remembered";
import { AnswerContext } from "./answer";
import { directionOf, readable, readableCode } from "./characters";
import { type Citations, same, within } from "./citations";
import { CodeBlock } from "./code/CodeBlock";
import { DataTable } from "./DataTable";
import { FOOTNOTE } from "./grammar";
import { type Block, childrenOf } from "./growing_document";
import { Inline } from "./Inline";
import { insideOf, type Piece, piecesOf } from "./leaf";
import { useGradually } from "./pace";

interface BlockProps {
  block: Block;
  citations: Citations;
}

/** Equal places mean equal blocks, as the text only grows. The blocks in a list or a quote may change even so. */
function sameBlock(one: BlockProps, other: BlockProps): boolean {
  return (
    one.block.name === other.block.name &&
    one.block.from === other.block.from &&
    one.block.to === other.block.to &&
    (one.block.tree === other.block.tree || !CONTAINERS.has(one.block.name)) &&
    same(one.citations, other.citations)
  );
}

const CONTAINERS = new Set(["Blockquote", "BulletList", "OrderedList", "ListItem"]);
const MARKS = new Set(["QuoteMark", "ListMark", "TaskMarker", "LinkReference"]);

/** Blocks that are shown at once, as far as their sources are not longer than this together. In UTF-16 units. */
const GROUP_LENGTH = 3_000;
const GROUP_SIZE = 40;

interface Group {
  blocks: readonly Block[];
  /** Where the next group begins. Citations up to there belong to this one. */
  until: number;
}

/** The blocks in groups, the same however many have followed. */
export function grouped(blocks: readonly Block[], until: number): Group[] {
  const groups: Group[] = [];
  let group: Block[] = [];
  let length = 0;
  for (const block of blocks) {
    if (group.length > 0 && (length + block.to - block.from > GROUP_LENGTH || group.length >= GROUP_SIZE)) {
      groups.push({ blocks: group, until: block.from });
      group = [];
      length = 0;
    }
    group.push(block);
    length += block.to - block.from;
  }
  if (group.length > 0) {
    groups.push({ blocks: group, until });
  }
  return groups;
}

interface BlockGroupProps {
  group: Group;
  from: number;
  citations: Citations;
}

/** The blocks of a group, without an element around them. */
const BlockGroup = remembered(
  ({ group, from, citations }: BlockGroupProps) => {
    const { blocks } = group;
    return (
      <>
        {blocks.map((block, at) => {
          const start = at === 0 ? from : block.from;
          const mine = within(citations, start, blocks[at + 1]?.from ?? group.until);
          return <BlockView key={block.from} block={block} citations={mine} />;
        })}
      </>
    );
  },
  (one: BlockGroupProps, other: BlockGroupProps) =>
    one.from === other.from &&
    one.group.until === other.group.until &&
    one.group.blocks.length === other.group.blocks.length &&
    one.group.blocks.every((block, at) =>
      sameBlock({ block, citations: [] }, { block: other.group.blocks[at] as Block, citations: [] }),
    ) &&
    same(one.citations, other.citations),
);

interface SequenceProps {
  blocks: readonly Block[];
  from: number;
  until: number;
  citations: Citations;
  /** How many groups are shown at once. */
  first?: number;
  /** Put around each group. */
  around?: FunctionComponent<{ children: ComponentChildren }>;
}

/** Blocks below each other, shown group by group. */
export function Sequence({
  blocks,
  from,
  until,
  citations,
  first = 1,
  around: Around = Fragment,
}: SequenceProps) {
  const groups = grouped(blocks, until);
  const shown = useGradually(groups.length, first);
  return (
    <>
      {groups.slice(0, shown).map((group, at) => {
        const start = at === 0 ? from : (group.blocks[0]?.from ?? from);
        return (
          <Around key={start}>
            <BlockGroup group={group} from={start} citations={within(citations, start, group.until)} />
          </Around>
        );
      })}
    </>
  );
}

const BlockView = remembered(({ block, citations }: BlockProps) => {
  const { source } = useContext(AnswerContext);
  const text = source();
  switch (block.name) {
    case "Paragraph":
    case "Task":
      return <Paragraph block={block} text={text} citations={citations} />;
    case "ATXHeading1":
    case "ATXHeading2":
    case "ATXHeading3":
    case "ATXHeading4":
    case "ATXHeading5":
    case "ATXHeading6":
    case "SetextHeading1":
    case "SetextHeading2":
      return <Heading block={block} text={text} citations={citations} />;
    case "Blockquote":
      return <Quote block={block} text={text} citations={citations} />;
    case "BulletList":
    case "OrderedList":
      return <List block={block} text={text} citations={citations} />;
    case "ListItem":
      return <Item block={block} text={text} citations={citations} />;
    case "FencedCode":
    case "CodeBlock":
      return <CodeBlock {...codeOf(block, text)} />;
    case "Table":
      return <DataTable source={text.slice(block.from, block.to)} from={block.from} citations={citations} />;
    case "HorizontalRule":
      return <hr />;
    case "MathBlock":
    case "HTMLBlock":
    case "CommentBlock":
    case "ProcessingInstructionBlock":
      return <Verbatim block={block} text={text} />;
    default:
      return null;
  }
}, sameBlock);

interface ViewProps extends BlockProps {
  text: string;
}

interface PiecesProps {
  whole: Piece;
  citations: Citations;
  /** The element of each piece. */
  as: "p" | "h3" | "h4" | "h5" | "h6";
}

/** Text as one element, or as several if it is very long. */
function Pieces({ whole, citations, as: Element }: PiecesProps) {
  const pieces = piecesOf(whole);
  const shown = useGradually(pieces.length, 1);
  const last = pieces.length - 1;
  return (
    <>
      {pieces.slice(0, shown).map((piece, at) => {
        const until = at === last ? Number.POSITIVE_INFINITY : piece.from + piece.text.length;
        return (
          <Element key={piece.from} dir="auto" class={last > 0 ? "md-piece" : undefined}>
            <Inline piece={piece} citations={within(citations, at === 0 ? -1 : piece.from, until)} />
          </Element>
        );
      })}
    </>
  );
}

function Paragraph({ block, text, citations }: ViewProps) {
  const whole = insideOf(block, text);
  const footnote = FOOTNOTE.exec(whole.text.slice(0, 110));
  if (footnote === null) {
    return <Pieces whole={whole} citations={citations} as="p" />;
  }
  const label = footnote[1] ?? "";
  const rest = { text: whole.text.slice(footnote[0].length), from: whole.from + footnote[0].length };
  return (
    <div class="md-footnote" data-footnote={label.toLowerCase()} tabIndex={-1}>
      <span class="md-footnote-label">{readable(label)}</span>
      <Pieces whole={rest} citations={citations} as="p" />
    </div>
  );
}

/** The page's own headings are of the first and second level. */
function Heading({ block, text, citations }: ViewProps) {
  const level = Math.min(6, Number(block.name.slice(-1)) + 2) as 3 | 4 | 5 | 6;
  return <Pieces whole={insideOf(block, text)} citations={citations} as={`h${level}`} />;
}

function Quote({ block, text, citations }: ViewProps) {
  const children = contentOf(block);
  return (
    <blockquote dir={directionOf(text.slice(block.from, block.from + 200))}>
      <Sequence
        blocks={children}
        from={block.from - 1}
        until={Number.POSITIVE_INFINITY}
        citations={citations}
      />
    </blockquote>
  );
}

function contentOf(block: Block): Block[] {
  return childrenOf(block.tree, block.from).filter((child) => !MARKS.has(child.name));
}

function List({ block, text, citations }: ViewProps) {
  const items = contentOf(block);
  const loose = isLoose(items, text) ? "md-loose" : undefined;
  const dir = directionOf(text.slice(block.from, block.from + 200));
  const sequence = (
    <Sequence blocks={items} from={block.from - 1} until={Number.POSITIVE_INFINITY} citations={citations} />
  );
  if (block.name === "BulletList") {
    return (
      <ul class={loose} dir={dir}>
        {sequence}
      </ul>
    );
  }
  const start = Number.parseInt(text.slice(block.from, block.from + 10), 10);
  return (
    <ol class={loose} dir={dir} start={start === 1 ? undefined : start}>
      {sequence}
    </ol>
  );
}

/** Whether an empty line stands between items, or between blocks of an item. */
function isLoose(items: readonly Block[], text: string): boolean {
  let before: Block | undefined;
  for (const item of items) {
    if (before !== undefined && hasEmptyLine(text, before.to, item.from)) {
      return true;
    }
    if (looseInside(item, text)) {
      return true;
    }
    before = item;
  }
  return false;
}

const knownLoose = new WeakMap<object, boolean>();

function looseInside(item: Block, text: string): boolean {
  if (item.tree === null) {
    return false;
  }
  let loose = knownLoose.get(item.tree);
  if (loose === undefined) {
    const children = contentOf(item);
    loose = children.some((child, at) => hasEmptyLine(text, children[at - 1]?.to ?? child.from, child.from));
    knownLoose.set(item.tree, loose);
  }
  return loose;
}

function hasEmptyLine(text: string, from: number, to: number): boolean {
  let lines = 0;
  for (let at = from; at < to; at++) {
    if (text.charCodeAt(at) === 10) {
      lines++;
    }
  }
  return lines > 1;
}

function Item({ block, text, citations }: ViewProps) {
  const children = contentOf(block);
  const task = children[0]?.name === "Task" ? text.charAt(children[0].from + 1) : null;
  return (
    <li class={task === null ? undefined : "md-task"}>
      {task !== null && (
        <input type="checkbox" disabled checked={task !== " "} aria-label={task === " " ? "Open" : "Done"} />
      )}
      <Sequence
        blocks={children}
        from={block.from - 1}
        until={Number.POSITIVE_INFINITY}
        citations={citations}
      />
    </li>
  );
}

function codeOf(block: Block, text: string): { code: string; info: string } {
  const parts: string[] = [];
  let info = "";
  for (const child of childrenOf(block.tree, block.from)) {
    if (child.name === "CodeInfo") {
      info = text.slice(child.from, child.to);
    } else if (child.name === "CodeText") {
      parts.push(text.slice(child.from, child.to));
    }
  }
  const code = parts.length === 1 ? (parts[0] ?? "") : parts.join("");
  // A mark that is indented takes as many spaces from each line.
  const line = text.lastIndexOf("\n", block.from - 1) + 1;
  const indent = text.slice(line, block.from);
  const outdented = /^ {1,3}$/.test(indent)
    ? code.replace(new RegExp(`^ {1,${indent.length}}`, "gm"), "")
    : code;
  return { code: outdented, info };
}

/** Text exactly as it is written: formulas, and HTML. */
function Verbatim({ block, text }: { block: Block; text: string }) {
  const pieces = piecesOf({ text: text.slice(block.from, block.to), from: block.from });
  const shown = useGradually(pieces.length, 1);
  return (
    <div class="md-verbatim" dir="auto">
      {pieces.slice(0, shown).map((piece) => (
        <p key={piece.from} class={pieces.length > 1 ? "md-piece" : undefined} dir="auto">
          {readableCode(piece.text)}
        </p>
      ))}
    </div>
  );
}

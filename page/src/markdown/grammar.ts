/**
 * The grammar of answers: CommonMark with tables, task lists, strikethrough and bare addresses (GFM), mathematics that
 * stays as it is written, and footnotes. Blocks and inline content are parsed apart, so that a block is parsed inside
 * only when it is shown, and in pieces of bounded size.
 */

import {
  type BlockContext,
  parser as commonMark,
  GFM,
  type InlineContext,
  type LeafBlock,
  type LeafBlockParser,
  type Line,
  type MarkdownConfig,
  type MarkdownParser,
  Strikethrough,
  Table,
} from "@lezer/markdown";

/** How many quotes, lists and items a block may stand in. A list inside a list counts two. Deeper marks are text. */
export const DEEPEST = 40;

/** Longer lines define nothing: no address, no footnote, no columns of a table. In UTF-16 units. */
const LONGEST_DEFINITION = 4_000;

/** The longest formula, and the longest bare address, in UTF-16 units. */
const LONGEST_TOKEN = 2_000;

const BACKSLASH = 92;
const DOLLAR = 36;

const DEFINITION =
  /^\[(?!\^)((?:[^[\]\\]|\\.){1,999})\]:[ \t]*(<[^<>\n]*>|[^\s<]\S*)(?:[ \t]+("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\((?:[^()\\]|\\.)*\)))?[ \t]*$/;

/** `[^label]: ` at the beginning of a paragraph. */
export const FOOTNOTE = /^\[\^([^\s[\]^]{1,100})\]:[ \t]*/;

/** Every mark of a quote or a list that is too deep is text, one paragraph a line. */
const depthLimit: MarkdownConfig = {
  parseBlock: [
    {
      name: "DepthLimit",
      before: "LinkReference",
      parse(cx, line) {
        if (cx.depth <= DEEPEST || line.pos >= line.text.length) {
          return false;
        }
        cx.addElement(cx.elt("Paragraph", cx.lineStart + line.pos, cx.lineStart + line.text.length));
        cx.nextLine();
        return true;
      },
    },
  ],
};

class Definition implements LeafBlockParser {
  constructor(private readonly length: number) {}

  nextLine(cx: BlockContext, _line: Line, leaf: LeafBlock): boolean {
    return this.finish(cx, leaf);
  }

  finish(cx: BlockContext, leaf: LeafBlock): boolean {
    cx.addLeafElement(leaf, cx.elt("LinkReference", leaf.start, leaf.start + this.length));
    return true;
  }
}

/**
 * Definitions of link addresses, each on one line. The parser's own rule reads a definition over several lines, and
 * reads all lines again at each line of a definition that does not end.
 */
const definitions: MarkdownConfig = {
  parseBlock: [
    {
      name: "LinkReference",
      leaf: (_cx, leaf) =>
        leaf.content.length <= LONGEST_DEFINITION && DEFINITION.test(leaf.content)
          ? new Definition(leaf.content.length)
          : null,
    },
    {
      name: "Footnote",
      endLeaf: (_cx, line) => FOOTNOTE.test(line.text.slice(line.pos, line.pos + 110)),
    },
  ],
};

/** The parts of a definition line: label, address, title. */
export function readDefinition(
  line: string,
): { label: string; address: string; title: string | null } | null {
  const found = DEFINITION.exec(line);
  return found === null
    ? null
    : { label: found[1] ?? "", address: found[2] ?? "", title: found[3]?.slice(1, -1) ?? null };
}

/** Tables, without the parser's look at the next line if that is long: its expression takes quadratic time on spaces. */
const tables: MarkdownConfig = {
  ...Table,
  parseBlock: (Table.parseBlock ?? []).map((block) => ({
    ...block,
    endLeaf: (cx, line, leaf) =>
      line.text.includes("|") &&
      cx.peekLine().length <= LONGEST_DEFINITION &&
      !/\s{100}/.test(cx.peekLine()) &&
      (block.endLeaf?.(cx, line, leaf) ?? false),
  })),
};

const MATH_BLOCK = /^(?:\$\$|\\\[)/;

function mathBlockOpens(line: Line): string | null {
  const rest = line.text.slice(line.pos);
  if (!MATH_BLOCK.test(rest)) {
    return null;
  }
  const close = rest.startsWith("$$") ? "$$" : "\\]";
  const after = rest.slice(2).trim();
  return after === "" || (after.endsWith(close) && after.indexOf(close) === after.length - 2) ? close : null;
}

/** A formula of one line, or lines from a lone `$$` or `\[` to the mark that closes them or to an empty line. */
const mathBlocks: MarkdownConfig = {
  defineNodes: [{ name: "MathBlock", block: true }],
  parseBlock: [
    {
      name: "MathBlock",
      before: "IndentedCode",
      parse(cx, line) {
        if (line.indent - line.baseIndent >= 4) {
          return false;
        }
        const close = mathBlockOpens(line);
        if (close === null) {
          return false;
        }
        const from = cx.lineStart + line.pos;
        const marks = [];
        const depth = cx.depth;
        let closed = line.text.indexOf(close, line.pos + 2) >= 0;
        let open = cx.nextLine();
        while (open && !closed && line.pos < line.text.length && lineDepth(line) >= depth) {
          marks.push(...line.markers);
          closed = line.text.includes(close);
          open = cx.nextLine();
        }
        cx.addElement(cx.elt("MathBlock", from, cx.prevLineEnd(), marks));
        return true;
      },
      endLeaf: (_cx, line) => mathBlockOpens(line) !== null,
    },
  ],
};

/** How many of the open quotes and lists the line continues. The parser keeps it, and does not declare it. */
function lineDepth(line: Line): number {
  return (line as Line & { depth: number }).depth;
}

/** Blocks alone. What is inside a paragraph, a heading or a cell is left to `inlineParser`. */
export const blockParser: MarkdownParser = commonMark.configure([
  ...GFM.filter((one) => one !== Table && one !== Strikethrough),
  tables,
  definitions,
  mathBlocks,
  depthLimit,
]);
blockParser.parseInline = () => [];

/** Mathematics as text: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`. */
function math(cx: InlineContext, next: number, at: number): number {
  if (next === DOLLAR) {
    const size = cx.char(at + 1) === DOLLAR ? 2 : 1;
    const text = cx.slice(at, Math.min(cx.end, at + LONGEST_TOKEN));
    const found =
      size === 2 ? /^\$\$[^$]+\$\$/.exec(text) : /^\$(?![\s$])(?:[^$\\\n]|\\.)*(?<=\S)\$(?!\d)/.exec(text);
    return found === null ? -1 : cx.addElement(cx.elt("Math", at, at + found[0].length));
  }
  if (next !== BACKSLASH) {
    return -1;
  }
  const opening = cx.slice(at, at + 2);
  const closing = opening === "\\(" ? "\\)" : opening === "\\[" ? "\\]" : null;
  if (closing === null) {
    return -1;
  }
  const end = cx.slice(at, Math.min(cx.end, at + LONGEST_TOKEN)).indexOf(closing, 2);
  return end < 0 ? -1 : cx.addElement(cx.elt("Math", at, at + end + 2));
}

const inlineExtras: MarkdownConfig = {
  defineNodes: ["Math"],
  parseInline: [
    { name: "Math", before: "Escape", parse: math },
    // Looking for the end of an address counts its brackets again for each bracket at its end.
    {
      name: "LongAddress",
      before: "Autolink",
      parse(cx, next, at) {
        if (next !== 0x77 && next !== 0x68) {
          return -1;
        }
        const text = cx.slice(at, Math.min(cx.end, at + LONGEST_TOKEN + 1));
        return /^(?:www\.|https?:\/\/)/.test(text) && !/[\s<]/.test(text) && text.length > LONGEST_TOKEN
          ? at + text.length
          : -1;
      },
    },
  ],
};

/** What stands inside of a paragraph, a heading or a cell. */
export const inlineParser: MarkdownParser = commonMark.configure([GFM, inlineExtras]);

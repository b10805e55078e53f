/** The blocks of a text that grows at its end, parsed a little at a time and never twice. */

import { type PartialParse, type Tree, TreeBuffer, TreeFragment } from "@lezer/common";
import { blockParser } from "./grammar";

/** A block of the text, or a mark in it. `from` and `to` count from the beginning of the text. */
export interface Block {
  name: string;
  from: number;
  to: number;
  /** The same object as long as nothing in the block has changed. Marks have none. */
  tree: Tree | null;
}

/** The blocks and marks directly inside a tree that begins at `from`. */
export function childrenOf(tree: Tree | null, from: number): Block[] {
  const found: Block[] = [];
  if (tree !== null) {
    collect(tree, from, found);
  }
  return found;
}

// The tree itself is walked and no cursor, because a list of 10,000 items is walked each time it has grown.
function collect(tree: Tree, from: number, found: Block[]): void {
  for (let at = 0; at < tree.children.length; at++) {
    const child = tree.children[at];
    const start = from + (tree.positions[at] ?? 0);
    if (child instanceof TreeBuffer) {
      const { buffer, set } = child;
      for (let index = 0; index < buffer.length; index = buffer[index + 3] ?? buffer.length) {
        found.push({
          name: set.types[buffer[index] ?? 0]?.name ?? "",
          from: start + (buffer[index + 1] ?? 0),
          to: start + (buffer[index + 2] ?? 0),
          tree: null,
        });
      }
    } else if (child?.type.isAnonymous) {
      collect(child, start, found);
    } else if (child !== undefined) {
      found.push({ name: child.type.name, from: start, to: start + child.length, tree: child });
    }
  }
}

/** After a longer line, the blocks at the end are parsed anew. In UTF-16 units. */
const LONGEST_LINE = 20_000;

export class GrowingDocument {
  /** The text as far as it has been parsed. */
  text = "";

  /** Blocks that no further text can change. Only appended to. */
  readonly settled: Block[] = [];

  /** The blocks at the end, which further text can change. */
  tail: Block[] = [];

  private tailFrom = 0;
  private tailTree: Tree | null = null;
  private wanted = "";
  private running: { parse: PartialParse; text: string } | null = null;

  /** Take the text as it is now. Returns false if it does not begin with the text before: then start again. */
  feed(text: string): boolean {
    if (!text.startsWith(this.wanted)) {
      return false;
    }
    this.wanted = text;
    return true;
  }

  get finished(): boolean {
    return this.running === null && this.text.length === this.wanted.length;
  }

  /** Whether the last text was parsed to its end, and no other one was begun. */
  get resting(): boolean {
    return this.running === null;
  }

  /** Parse until `deadline`, in the time of `performance.now()`. Returns whether there are other blocks now. */
  work(deadline: number): boolean {
    if (this.finished) {
      return false;
    }
    this.running ??= { parse: this.start(), text: this.wanted };
    const { parse, text } = this.running;
    do {
      const tree = parse.advance();
      if (tree !== null) {
        this.running = null;
        this.take(tree, text);
        return true;
      }
    } while (performance.now() < deadline);
    return false;
  }

  private start(): PartialParse {
    // To use what it knows, the parser goes back to the beginning of the last line, character by character.
    const lastLine = this.text.length - this.text.lastIndexOf("\n");
    const fragments =
      this.tailTree === null || lastLine > LONGEST_LINE
        ? []
        : [new TreeFragment(0, this.text.length - this.tailFrom, this.tailTree, this.offset, false, true)];
    return blockParser.startParse(this.wanted.slice(this.tailFrom), fragments);
  }

  /** Where the tail begins in the tree that it was last found in. */
  private offset = 0;

  private take(tree: Tree, text: string): void {
    const blocks = childrenOf(tree, this.tailFrom);
    this.text = text;
    // The last line may not be complete, and then become part of another block. A block before it that is not the last
    // one was closed by a line that is complete.
    const lastLine = text.lastIndexOf("\n") + 1;
    let open = blocks.length - 1;
    while (open > 0 && (blocks[open]?.from ?? 0) >= lastLine) {
      open--;
    }
    const first = blocks[open];
    if (open > 0 && first !== undefined) {
      for (let at = 0; at < open; at++) {
        this.settled.push(blocks[at] as Block);
      }
      const from = text.lastIndexOf("\n", first.from - 1) + 1;
      this.offset = from - this.tailFrom;
      this.tailFrom = from;
    } else {
      this.offset = 0;
    }
    this.tail = blocks.slice(Math.max(open, 0));
    this.tailTree = tree;
  }
}

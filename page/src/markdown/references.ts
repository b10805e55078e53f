/** What the links of an answer refer to by a label: definitions of addresses, and footnotes. */

import type { Tree } from "@lezer/common";
import { type Signal, signal } from "@preact/signals";
import { FOOTNOTE, readDefinition } from "./grammar";
import { type Block, childrenOf } from "./growing_document";

export interface Target {
  address: string;
  title: string | null;
}

const CONTAINERS = new Set(["Blockquote", "BulletList", "OrderedList", "ListItem"]);

function normal(label: string): string {
  return label.trim().replace(/\s+/g, " ").toLowerCase();
}

/**
 * The definitions found so far. Each label is a signal of its own, so that only links with the label are shown again
 * when its definition arrives.
 */
export class References {
  private readonly targets = new Map<string, Signal<Target | null>>();
  private readonly seen = new WeakSet<Tree>();

  private of(label: string): Signal<Target | null> {
    const key = normal(label);
    let target = this.targets.get(key);
    if (target === undefined) {
      target = signal(null);
      this.targets.set(key, target);
    }
    return target;
  }

  /** What the label refers to. The component that asks is shown again when that changes. */
  link(label: string): Target | null {
    return this.of(label).value;
  }

  footnote(label: string): boolean {
    return this.of(`^${label}`).value !== null;
  }

  /**
   * Read the definitions in the blocks that were not read before, as far as they end before `complete`: the address in
   * a line that still grows is another one when the line is complete.
   */
  read(blocks: readonly Block[], text: string, complete: number): void {
    for (const block of blocks) {
      if (block.tree === null || this.seen.has(block.tree)) {
        continue;
      }
      if (block.to <= complete) {
        this.seen.add(block.tree);
      }
      if (CONTAINERS.has(block.name)) {
        this.read(childrenOf(block.tree, block.from), text, complete);
      } else if (block.to <= complete && block.name === "LinkReference") {
        this.define(text.slice(block.from, block.to));
      } else if (block.to <= complete && block.name === "Paragraph") {
        const label = FOOTNOTE.exec(text.slice(block.from, block.from + 110))?.[1];
        if (label !== undefined) {
          this.set(`^${label}`, { address: "", title: null });
        }
      }
    }
  }

  private define(line: string): void {
    const found = readDefinition(line);
    if (found !== null) {
      this.set(found.label, { address: found.address, title: found.title });
    }
  }

  /** The first definition of a label counts. */
  private set(label: string, target: Target): void {
    const known = this.of(label);
    if (known.peek() === null) {
      known.value = target;
    }
  }
}

/** The responses of a conversation as a tree: each follows another, and edits and regenerations are branches. */

import { signal } from "@preact/signals";
import type { ResponseEntry } from "../api/wire";
import type { TurnState } from "./turn";

/** A response, or a message of which no response is known yet. */
export class TreeNode {
  turn: TurnState | null = null;
  /** Whether what belongs to it was asked for, and cannot be had. */
  missing = false;
  /** The child that was shown last. */
  preferred: TreeNode | null = null;
  readonly responseId = signal<string | null>(null);

  constructor(
    /** Stays the same, also when the response is known later. */
    readonly key: string,
    /** The id of the response that it follows, or the key of a node without a response. */
    public follows: string | null,
    /** Larger is newer. */
    public order: number,
    readonly entry: ResponseEntry | null,
  ) {
    this.responseId.value = entry?.id ?? null;
  }
}

export class Tree {
  private readonly nodes = new Map<string, TreeNode>();
  private readonly below = new Map<string | null, TreeNode[]>();
  private oldest = 0;
  private newest = 0;

  get size(): number {
    return this.nodes.size;
  }

  /** A node by its key or by the id of its response. */
  get(id: string | null): TreeNode | null {
    return id === null ? null : (this.nodes.get(id) ?? null);
  }

  /** Add entries that are older than all others, the newest first. */
  addOlder(entries: readonly ResponseEntry[]): void {
    for (const entry of entries) {
      if (!this.nodes.has(entry.id))
        this.put(new TreeNode(entry.id, entry.previous_response_id, --this.oldest, entry));
    }
  }

  /** Add entries that are newer than all others, the newest first. Known ones stay. Returns the new nodes. */
  addNewer(entries: readonly ResponseEntry[]): TreeNode[] {
    const made = [];
    for (const entry of [...entries].reverse()) {
      if (this.nodes.has(entry.id)) continue;
      made.push(this.put(new TreeNode(entry.id, entry.previous_response_id, ++this.newest, entry)));
    }
    return made;
  }

  /** Add a node whose response is not known yet. */
  addLocal(key: string, parent: TreeNode | null): TreeNode {
    return this.put(
      new TreeNode(
        key,
        parent === null ? null : (parent.responseId.peek() ?? parent.key),
        ++this.newest,
        null,
      ),
    );
  }

  /** The response of a node is known. */
  bind(node: TreeNode, responseId: string): void {
    const listed = this.nodes.get(responseId);
    if (listed !== undefined && listed !== node) this.remove(listed);
    node.responseId.value = responseId;
    this.nodes.set(responseId, node);
  }

  /** Let a node without a response follow another one. */
  move(node: TreeNode, parent: TreeNode): void {
    this.remove(node);
    node.follows = parent.responseId.peek() ?? parent.key;
    node.order = ++this.newest;
    this.put(node);
  }

  remove(node: TreeNode): void {
    for (const [id, one] of this.nodes) {
      if (one === node) this.nodes.delete(id);
    }
    const key = node.follows;
    this.below.set(
      key,
      (this.below.get(key) ?? []).filter((one) => one !== node),
    );
  }

  parent(node: TreeNode): TreeNode | null {
    return this.get(node.follows);
  }

  /** The nodes that follow the same response, this one included, the oldest first. */
  siblings(node: TreeNode): readonly TreeNode[] {
    return this.childrenOf(node.follows);
  }

  children(node: TreeNode): readonly TreeNode[] {
    const id = node.responseId.peek();
    const found = id === null || id === node.key ? [] : (this.below.get(id) ?? []);
    return [...(this.below.get(node.key) ?? []), ...found].sort((a, b) => a.order - b.order);
  }

  /** The nodes from the beginning, as far as it is known, to this one. */
  path(tip: TreeNode | null): TreeNode[] {
    const path: TreeNode[] = [];
    const seen = new Set<TreeNode>();
    for (let node = tip; node !== null && !seen.has(node); node = this.parent(node)) {
      seen.add(node);
      path.push(node);
    }
    return path.reverse();
  }

  /** The end of the branch below a node: the one that was shown last, or the newest. */
  leaf(node: TreeNode): TreeNode {
    let leaf = node;
    for (;;) {
      const children = this.children(leaf);
      const next = children.find((one) => one === leaf.preferred) ?? children.at(-1);
      if (next === undefined) return leaf;
      leaf = next;
    }
  }

  /** Remember the path to a node as what is shown. */
  prefer(tip: TreeNode): void {
    const path = this.path(tip);
    for (const [index, node] of path.entries()) node.preferred = path[index + 1] ?? null;
  }

  /** The newest node of which this is true. */
  newestWhere(wanted: (node: TreeNode) => boolean): TreeNode | null {
    let found: TreeNode | null = null;
    for (const node of this.nodes.values()) {
      if ((found === null || node.order > found.order) && wanted(node)) found = node;
    }
    return found;
  }

  private childrenOf(follows: string | null): readonly TreeNode[] {
    const parent = this.get(follows);
    return parent === null ? (this.below.get(follows) ?? []) : this.children(parent);
  }

  private put(node: TreeNode): TreeNode {
    this.nodes.set(node.key, node);
    const key = node.follows;
    const children = [...(this.below.get(key) ?? []), node];
    this.below.set(
      key,
      children.sort((a, b) => a.order - b.order),
    );
    return node;
  }
}

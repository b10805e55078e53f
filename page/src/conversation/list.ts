/** The list of the reader's conversations. Changes are shown at once, and taken back if the service refuses them. */

import { batch, signal } from "@preact/signals";
import type { Api } from "../api/http";
import { Failed, problemOf } from "../api/problems";
import type { Conversation, Page } from "../api/wire";
import type { ConversationList, Problem } from "./model";
import type { Clock } from "./surroundings";

const AT_A_TIME = 50;

/** Pinned conversations are read at once. */
const MOST_PINNED = 100;

/** How long a reader must pause before a search is sent. */
const PAUSE_MS = 250;

/** What the service takes as a search. */
const LONGEST_QUERY = 200;
const MOST_WORDS = 10;

export class ListState implements ConversationList {
  readonly query = signal("");
  readonly hasMore = signal(false);
  readonly loading = signal(false);
  readonly problem = signal<Problem | null>(null);
  readonly pinned = signal<readonly Conversation[]>([]);
  readonly entries = signal<readonly Conversation[]>([]);

  private after: string | null = null;
  /** Counts the requests, so that an answer that comes too late is dropped. */
  private asked = 0;
  private forget = () => {};

  constructor(
    private readonly api: Api,
    private readonly clock: Clock,
    /** Called when the service has deleted a conversation. */
    private readonly removed: (id: string) => void = () => {},
    /** Ends what runs in a conversation, which the service would not delete otherwise. */
    private readonly end: (id: string) => Promise<void> = async () => {},
  ) {}

  /** Read the list from its beginning. What was read beyond the first page stays. */
  async refresh(): Promise<void> {
    await this.begin((page) => {
      const first = new Set(page.data.map((one) => one.id));
      return page.has_more ? this.entries.peek().filter((one) => !first.has(one.id)) : [];
    });
  }

  search(query: string): void {
    this.query.value = query;
    // What was asked before is not wanted any more.
    this.asked += 1;
    this.forget();
    this.forget = this.clock.after(PAUSE_MS, () => void this.begin(() => []));
  }

  async more(): Promise<void> {
    if (!this.hasMore.peek() || this.loading.peek()) return;
    const asked = this.asked;
    await this.tried(async () => {
      const page = await this.page({ limit: AT_A_TIME, after: this.after, pinned: false });
      if (asked !== this.asked) return;
      const known = new Set(this.entries.peek().map((one) => one.id));
      batch(() => {
        this.entries.value = [...this.entries.peek(), ...page.data.filter((one) => !known.has(one.id))];
        this.ends(page);
      });
    });
  }

  async rename(id: string, title: string): Promise<void> {
    await this.changed(
      id,
      (one) => ({ ...one, title }),
      () => this.api.json("POST", address(id), { body: { title } }),
    );
  }

  async pin(id: string, pinned: boolean): Promise<void> {
    await this.changed(
      id,
      (one) => ({ ...one, metadata: withPin(one.metadata, pinned) }),
      async () => {
        // The service replaces the metadata as a whole, and other clients have theirs in it.
        const now = await this.api.json<Conversation>("GET", address(id));
        return this.api.json("POST", address(id), { body: { metadata: withPin(now.metadata, pinned) } });
      },
    );
  }

  async remove(id: string): Promise<void> {
    const gone = this.find(id);
    // The next page begins after an entry that exists.
    if (this.after === id) this.after = this.entries.peek().findLast((one) => one.id !== id)?.id ?? null;
    this.take(id);
    try {
      await this.end(id);
      await this.api.json("DELETE", address(id));
    } catch (error) {
      if (gone !== null && this.find(id) === null) this.put(gone);
      throw new Failed(error);
    }
    // A list that was read in the meantime may still have it.
    this.take(id);
    if (this.loading.peek()) void this.refresh();
    this.removed(id);
  }

  /** A conversation of the list, if it was read. */
  find(id: string): Conversation | null {
    return [...this.pinned.peek(), ...this.entries.peek()].find((one) => one.id === id) ?? null;
  }

  private async changed(
    id: string,
    change: (one: Conversation) => Conversation,
    ask: () => Promise<Conversation>,
  ): Promise<void> {
    const before = this.find(id);
    if (before !== null) this.put(change(before));
    try {
      const now = await ask();
      if (this.find(id) !== null) this.put(now);
    } catch (error) {
      if (before !== null && this.find(id) !== null) this.put(before);
      throw new Failed(error);
    }
  }

  /** Put a conversation where it belongs, in place of what was known of it. */
  private put(one: Conversation): void {
    batch(() => {
      this.take(one.id);
      const list = isPinned(one) ? this.pinned : this.entries;
      list.value = [...list.peek(), one].sort((a, b) => usedAt(b) - usedAt(a));
    });
  }

  private take(id: string): void {
    batch(() => {
      for (const list of [this.pinned, this.entries]) {
        if (list.peek().some((one) => one.id === id)) list.value = list.peek().filter((one) => one.id !== id);
      }
    });
  }

  /** Read the pinned ones and the first page of the others. `rest` says which of the known ones stay behind them. */
  private async begin(rest: (page: Page<Conversation>) => readonly Conversation[]): Promise<void> {
    const asked = ++this.asked;
    await this.tried(async () => {
      const [pinned, page] = await Promise.all([
        this.page({ limit: MOST_PINNED, pinned: true }),
        this.page({ limit: AT_A_TIME, pinned: false }),
      ]);
      if (asked !== this.asked) return;
      batch(() => {
        const stays = rest(page);
        this.pinned.value = pinned.data;
        this.entries.value = [...page.data, ...stays];
        if (stays.length === 0) this.ends(page);
      });
    });
  }

  private page(query: Record<string, string | number | boolean | null>): Promise<Page<Conversation>> {
    const words = this.query.peek().slice(0, LONGEST_QUERY).split(/\s+/).filter(Boolean).slice(0, MOST_WORDS);
    return this.api.json("GET", "v1/conversations", {
      query: { ...query, query: words.length === 0 ? null : words.join(" ") },
    });
  }

  private ends(page: Page<Conversation>): void {
    this.after = page.last_id;
    this.hasMore.value = page.has_more && page.last_id !== null;
  }

  private async tried(read: () => Promise<void>): Promise<void> {
    this.loading.value = true;
    try {
      await read();
      this.problem.value = null;
    } catch (error) {
      this.problem.value = problemOf(error);
    } finally {
      this.loading.value = false;
    }
  }
}

function address(id: string): string {
  return `v1/conversations/${encodeURIComponent(id)}`;
}

function isPinned(one: Conversation): boolean {
  return one.metadata.pinned === "true";
}

function usedAt(one: Conversation): number {
  return one.updated_at ?? one.created_at;
}

function withPin(metadata: Record<string, string>, pinned: boolean): Record<string, string> {
  const { pinned: _before, ...rest } = metadata;
  return pinned ? { ...rest, pinned: "true" } : rest;
}

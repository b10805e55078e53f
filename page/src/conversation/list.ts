/** The list of the reader's conversations. Changes are shown at once, and taken back if the service refuses them. */

import { batch, computed, signal } from "@preact/signals";
import type { Api } from "../api/http";
import { Failed, problemOf } from "../api/problems";
import type { Conversation, Page } from "../api/wire";
import type { ConversationList, Problem } from "./model";
import type { Clock } from "./surroundings";

const AT_A_TIME = 50;

/** How long a reader must pause before a search is sent. */
const PAUSE_MS = 250;

const LONGEST_QUERY = 200;

export class ListState implements ConversationList {
  readonly query = signal("");
  readonly hasMore = signal(false);
  readonly loading = signal(false);
  readonly problem = signal<Problem | null>(null);
  private readonly all = signal<readonly Conversation[]>([]);
  readonly pinned = computed(() => this.all.value.filter(isPinned));
  readonly entries = computed(() => this.all.value.filter((one) => !isPinned(one)));

  private after: string | null = null;
  /** Counts the requests, so that an answer that comes too late is dropped. */
  private asked = 0;
  private forget = () => {};

  constructor(
    private readonly api: Api,
    private readonly clock: Clock,
    /** Called when the service has deleted a conversation. */
    private readonly removed: (id: string) => void = () => {},
  ) {}

  /** Read the list from its beginning. What was read beyond the first page stays. */
  async refresh(): Promise<void> {
    const asked = ++this.asked;
    await this.tried(async () => {
      const page = await this.page(null);
      if (asked !== this.asked) return;
      const first = new Set(page.data.map((one) => one.id));
      const rest = page.has_more ? this.all.peek().filter((one) => !first.has(one.id)) : [];
      batch(() => {
        this.all.value = [...page.data, ...rest];
        if (rest.length === 0) this.begun(page);
      });
    });
  }

  search(query: string): void {
    this.query.value = query;
    const asked = ++this.asked;
    this.forget();
    this.forget = this.clock.after(PAUSE_MS, () => {
      void this.tried(async () => {
        const page = await this.page(null);
        if (asked !== this.asked) return;
        batch(() => {
          this.all.value = page.data;
          this.begun(page);
        });
      });
    });
  }

  async more(): Promise<void> {
    if (!this.hasMore.peek() || this.loading.peek()) return;
    const asked = this.asked;
    await this.tried(async () => {
      const page = await this.page(this.after);
      if (asked !== this.asked) return;
      const known = new Set(this.all.peek().map((one) => one.id));
      batch(() => {
        this.all.value = [...this.all.peek(), ...page.data.filter((one) => !known.has(one.id))];
        this.begun(page);
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
    const before = this.all.peek();
    const place = before.findIndex((one) => one.id === id);
    const gone = before[place];
    this.all.value = before.filter((one) => one.id !== id);
    try {
      await this.api.json("DELETE", address(id));
    } catch (error) {
      if (gone !== undefined && this.find(id) === null)
        this.all.value = this.all.peek().toSpliced(place, 0, gone);
      throw new Failed(error);
    }
    // The next page begins after an entry that exists.
    if (this.after === id) this.after = this.all.peek().at(-1)?.id ?? null;
    this.removed(id);
  }

  /** A conversation of the list, if it was read. */
  find(id: string): Conversation | null {
    return this.all.peek().find((one) => one.id === id) ?? null;
  }

  private async changed(
    id: string,
    change: (one: Conversation) => Conversation,
    ask: () => Promise<Conversation>,
  ): Promise<void> {
    const before = this.find(id);
    const put = (next: Conversation) => {
      this.all.value = this.all.peek().map((one) => (one.id === id ? next : one));
    };
    if (before !== null) put(change(before));
    try {
      put(await ask());
    } catch (error) {
      if (before !== null) put(before);
      throw new Failed(error);
    }
  }

  private page(after: string | null): Promise<Page<Conversation>> {
    const query = this.query.peek().trim().slice(0, LONGEST_QUERY);
    return this.api.json("GET", "v1/conversations", {
      query: { limit: AT_A_TIME, after, query: query === "" ? null : query },
    });
  }

  private begun(page: Page<Conversation>): void {
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

function withPin(metadata: Record<string, string>, pinned: boolean): Record<string, string> {
  const { pinned: _before, ...rest } = metadata;
  return pinned ? { ...rest, pinned: "true" } : rest;
}

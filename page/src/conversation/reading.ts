/** Reads conversations and responses from the service. */

import type { Api } from "../api/http";
import { ApiError } from "../api/http";
import { readEvents } from "../api/sse";
import type { Conversation, OutputItem, Page, ResponseEntry, ResponseObject, StreamEvent } from "../api/wire";
import { addressOf } from "./run";
import type { InputItem } from "./turn";

/** Requests of one conversation at the same time. A browser opens six connections, and streams hold some. */
const AT_ONCE = 3;

/** The most pages of the items of one request. */
const MOST_PAGES = 10;

export interface StoredTurn {
  input: InputItem[];
  /** `null` for a run in progress, which is read as a stream. */
  response: ResponseObject | null;
}

export class Reading {
  private busy = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    private readonly api: Api,
    private readonly signal: AbortSignal,
  ) {}

  conversation(id: string): Promise<Conversation> {
    return this.get<Conversation>(`v1/conversations/${encodeURIComponent(id)}`);
  }

  /** The responses of a conversation, the newest first. */
  entries(id: string, after: string | null, limit = 100): Promise<Page<ResponseEntry>> {
    return this.get(`v1/conversations/${encodeURIComponent(id)}/responses`, { limit, after });
  }

  /** What was sent and answered. `null` if it is not stored any more. */
  async turn(entry: ResponseEntry): Promise<StoredTurn | null> {
    const address = addressOf(entry.id, entry.family);
    const runs = entry.status === "in_progress" || entry.status === "queued";
    try {
      // Items that were added without a run may be questions and answers. They have no response.
      if (entry.object === "items") return added(entry, await this.input(address));
      const [input, response] = await Promise.all([
        this.input(address),
        runs ? null : this.get<ResponseObject>(address),
      ]);
      return { input, response };
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  }

  /** The searches of a response, from its events. The events after the first `most` characters of text are left out. */
  async documents(entry: ResponseEntry, most: number): Promise<StreamEvent[]> {
    const found: StreamEvent[] = [];
    let left = most;
    const response = await this.api.open("GET", addressOf(entry.id, entry.family), {
      query: { stream: true },
      signal: this.signal,
    });
    if (response.body === null) return found;
    await readEvents(response.body, this.signal, (events) => {
      for (const event of events) {
        if (event.type !== "graph_agent:documents") continue;
        left -= JSON.stringify(event).length;
        if (left >= 0) found.push(event);
      }
    });
    return found;
  }

  /** Where people look at the trace of a response. */
  async traceUrl(id: string): Promise<string | null> {
    const address = `v1/responses/${encodeURIComponent(id)}/feedback`;
    return (await this.get<{ trace_url?: string | null }>(address)).trace_url ?? null;
  }

  private async input(address: string): Promise<InputItem[]> {
    const items: InputItem[] = [];
    let after: string | null = null;
    for (let pages = 0; pages < MOST_PAGES; pages++) {
      const page: Page<InputItem> = await this.get(`${address}/input_items`, {
        order: "asc",
        limit: 100,
        after,
      });
      items.push(...page.data);
      if (!page.has_more || page.last_id === null) break;
      after = page.last_id;
    }
    return items;
  }

  private async get<T>(path: string, query: Record<string, string | number | null> = {}): Promise<T> {
    if (this.busy >= AT_ONCE) await new Promise<void>((resume) => this.waiting.push(resume));
    else this.busy += 1;
    try {
      return await this.api.json<T>("GET", path, { query, signal: this.signal });
    } finally {
      // The next one takes the place of this one.
      const next = this.waiting.shift();
      if (next === undefined) this.busy -= 1;
      else next();
    }
  }
}

function added(entry: ResponseEntry, items: readonly InputItem[]): StoredTurn {
  const isAsked = (item: InputItem) => item.type === "mcp_approval_response" || item.role === "user";
  const isAnswer = (item: InputItem) =>
    item.type === "message" ? item.role === "assistant" : !isAsked(item);
  const output = items.filter(isAnswer) as OutputItem[];
  const { id, created_at, model } = entry;
  const response: ResponseObject = { id, object: "response", status: "completed", created_at, model, output };
  return { input: items.filter(isAsked), response };
}

/** A service in memory, for tests of the state: the public API as far as the page uses it, over torn connections. */

import type {
  Conversation,
  Model,
  PageSettings,
  ResponseEntry,
  ResponseObject,
  StreamEvent,
} from "../api/wire";
import type { Clock, Presence, Surroundings } from "./surroundings";
import { type Random, randomOf, saying, type Telling, type Told, wholeOf } from "./telling.testing";
import type { InputItem } from "./turn";

/** Time that passes only when a test says so. */
export class FakeClock implements Clock {
  private seconds = 1000;
  private timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.seconds;
  }

  frame(run: () => void): void {
    setImmediate(run);
  }

  after(milliseconds: number, run: () => void): () => void {
    const timer = { at: this.seconds + milliseconds / 1000, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((one) => one !== timer);
    };
  }

  pass(seconds: number): void {
    this.seconds += seconds;
    const due = this.timers.filter((timer) => timer.at <= this.seconds);
    this.timers = this.timers.filter((timer) => timer.at > this.seconds);
    for (const timer of due.sort((a, b) => a.at - b.at)) timer.run();
  }
}

declare function setImmediate(run: () => void): void;

/** Let everything happen that can, while time passes, until something is true. */
export async function until(clock: FakeClock, happened: () => boolean, step = 0.2): Promise<void> {
  for (let rounds = 0; rounds < 2000; rounds++) {
    if (happened()) return;
    await new Promise<void>((resume) => setImmediate(resume));
    if (rounds % 4 === 3) clock.pass(step);
  }
  throw new Error(`it has not happened: ${happened}`);
}

/** Let everything happen that needs no time. */
export async function settled(): Promise<void> {
  for (let rounds = 0; rounds < 60; rounds++) await new Promise<void>((resume) => setImmediate(resume));
}

export class FakeRun {
  readonly input: InputItem[];
  events: StreamEvent[] = [];
  response: ResponseObject;
  ended = false;
  logged = true;
  /** What was said while it is written. */
  readonly steers: { id: string; status: string; input: InputItem[] }[] = [];
  private readonly readers = new Set<() => void>();

  constructor(
    readonly entry: ResponseEntry,
    readonly conversation: string,
    readonly body: Record<string, unknown>,
    private told: Told,
  ) {
    this.input = (body.input as InputItem[]).map((item, index) => ({
      ...item,
      id: `in_${entry.id}_${index}`,
    }));
    this.response = { ...told.response, status: "in_progress", output: [], error: null };
  }

  /** Tell the next events, or all that are left. */
  tell(count = this.told.events.length): void {
    this.events = this.told.events.slice(0, this.events.length + count);
    if (this.events.length === this.told.events.length) this.finish(this.told);
    for (const wake of this.readers) wake();
  }

  cancel(): void {
    if (this.ended) return;
    const events = [...this.events];
    const failed = {
      ...this.response,
      status: "failed" as const,
      error: { code: "run_cancelled", message: "" },
    };
    events.push({ type: "response.failed", sequence_number: events.length, response: failed });
    this.events = events;
    this.finish({ events, response: { ...failed, status: "cancelled", error: null } });
    for (const wake of this.readers) wake();
  }

  /** End between two steps, with a successor that has what was said meanwhile. */
  goOn(successor: string): void {
    const events = [...this.events];
    const response = {
      ...this.response,
      status: "incomplete" as const,
      incomplete_details: { reason: "steered" },
      metadata: { successor_id: successor },
    };
    events.push({ type: "response.incomplete", sequence_number: events.length, response });
    this.events = events;
    for (const steer of this.steers) steer.status = "taken";
    this.finish({ events, response });
    for (const wake of this.readers) wake();
  }

  listen(wake: () => void): () => void {
    this.readers.add(wake);
    return () => this.readers.delete(wake);
  }

  private finish(told: Told): void {
    this.told = told;
    this.ended = true;
    this.response = told.response;
    this.entry.status = told.response.status;
  }
}

type Answering = (run: { said: string; input: InputItem[] }, telling: Telling) => Told;
type Fault = "lost" | { status: number; code?: string; headers?: Record<string, string>; body?: string };

export class FakeService {
  readonly clock = new FakeClock();
  readonly conversations = new Map<string, Conversation>();
  readonly runs = new Map<string, FakeRun>();
  /** What was asked: method, path with query, body. */
  readonly asked: { method: string; path: string; body: Record<string, unknown> | null; headers: Headers }[] =
    [];
  /** Faults of the next requests whose method and path begin so. */
  readonly faults: { of: string; fault: Fault }[] = [];
  /** Requests whose method and path begin so wait until they are let go. */
  readonly held: { of: string; going: Promise<void> }[] = [];
  /** The next streams end after so many bytes. */
  readonly cuts: number[] = [];
  /** Runs tell everything at once, unless a test tells it piece by piece. */
  atOnce = true;
  answering: Answering = ({ said }, telling) => saying(`You said: ${said}`, telling);
  models: Model[] = [];
  settings: Partial<PageSettings> = {};
  /** The bodies of feedback. */
  readonly feedback: unknown[] = [];
  /** Where people look at traces: the address before the id of the response. */
  traces: string | null = null;
  token: string | null = null;
  online = true;
  hash = "";
  readonly stored = new Map<string, string>();
  private readonly keys = new Map<string, FakeRun>();
  private readonly random: Random;
  private moved: (() => void)[] = [];
  private present = new Set<() => void>();
  private count = 0;

  constructor(seed = 1) {
    this.random = randomOf(seed);
  }

  surroundings(): Surroundings {
    const presence: Presence = {
      online: () => this.online,
      visible: () => true,
      listen: (changed) => {
        this.present.add(changed);
        return () => this.present.delete(changed);
      },
    };
    return {
      fetch: ((address: string, init: RequestInit) => this.fetch(address, init)) as typeof fetch,
      base: "https://host.example/prefix/",
      session: {
        getItem: (name) => this.stored.get(name) ?? null,
        setItem: (name, value) => void this.stored.set(name, value),
        removeItem: (name) => void this.stored.delete(name),
      },
      clock: this.clock,
      address: {
        read: () => this.hash,
        write: (hash) => {
          this.hash = hash;
        },
        listen: (changed) => void this.moved.push(changed),
      },
      presence,
      unique: () => `unique-${++this.count}`,
    };
  }

  /** The reader goes back, or types an address. */
  go(hash: string): void {
    this.hash = hash;
    for (const changed of this.moved) changed();
  }

  connect(online: boolean): void {
    this.online = online;
    for (const changed of this.present) changed();
  }

  /** A conversation with one run for each text, each after the one before. */
  converse(texts: readonly string[], id = `conv_${++this.count}`): FakeRun[] {
    const runs: FakeRun[] = [];
    for (const text of texts) {
      const input = [{ type: "message", role: "user", content: [{ type: "input_text", text }] }];
      const place =
        runs.length === 0 ? { conversation: id } : { previous_response_id: runs.at(-1)?.entry.id };
      const run = this.begin({ input, ...place });
      run.tell();
      runs.push(run);
    }
    return runs;
  }

  /** Another client starts a run. */
  begin(body: Record<string, unknown>): FakeRun {
    const number = ++this.count;
    const parent = this.runs.get(String(body.previous_response_id));
    const named = body.conversation as string | { id: string; from?: string } | undefined;
    const conversation =
      parent?.conversation ?? (typeof named === "object" ? named.id : named) ?? `conv_${number}`;
    const known = this.conversations.get(conversation);
    const beginning = typeof named === "object" && named.from === "beginning";
    const previous = parent?.entry.id ?? (beginning ? null : (known?.last_response_id ?? null));
    const input = body.input as InputItem[];
    const said =
      input.flatMap((item) => (item.content as { text: string }[] | undefined) ?? []).at(-1)?.text ?? "";
    const telling: Telling = {
      id: `resp_${number}`,
      conversation,
      previous,
      model: String(body.model ?? "talk"),
      createdAt: Math.floor(this.clock.now()),
    };
    const entry: ResponseEntry = {
      id: telling.id,
      object: "response",
      previous_response_id: previous,
      status: "in_progress",
      created_at: telling.createdAt,
      model: telling.model,
      family: "openai",
      trace_url: this.traces === null ? null : this.traces + telling.id,
    };
    const run = new FakeRun(entry, conversation, body, this.answering({ said, input }, telling));
    this.runs.set(entry.id, run);
    const title = known?.title ?? said.slice(0, 60);
    const rest = { created_at: telling.createdAt, updated_at: number, metadata: known?.metadata ?? {} };
    this.conversations.set(conversation, { id: conversation, title, ...rest, last_response_id: entry.id });
    if (this.atOnce) run.tell();
    else run.tell(2);
    return run;
  }

  /** A run that was steered ends, and another one goes on with what was said. */
  goOn(run: FakeRun): FakeRun {
    const next = this.begin({
      input: run.steers.flatMap((steer) => steer.input),
      previous_response_id: run.entry.id,
    });
    run.goOn(next.entry.id);
    return next;
  }

  run(id: string | null | undefined): FakeRun {
    const found = this.runs.get(id ?? "");
    if (found === undefined) throw new Error(`no run ${id}`);
    return found;
  }

  private async fetch(address: string, init: RequestInit): Promise<Response> {
    const url = new URL(address);
    const path = url.pathname.replace(/^\/prefix\//, "") + url.search;
    const method = init.method ?? "GET";
    const body = typeof init.body === "string" && init.body !== "" ? JSON.parse(init.body) : null;
    const headers = new Headers(init.headers);
    this.asked.push({ method, path, body, headers });
    init.signal?.throwIfAborted();
    await new Promise<void>((resume) => setImmediate(resume));
    const held = this.held.findIndex(({ of }) => `${method} ${path}`.startsWith(of));
    if (held >= 0) await this.held.splice(held, 1)[0]?.going;
    init.signal?.throwIfAborted();
    if (!this.online) throw new TypeError("Failed to fetch");
    const fault = this.faults.findIndex(({ of }) => `${method} ${path}`.startsWith(of));
    if (fault >= 0) {
      const [found] = this.faults.splice(fault, 1);
      if (found?.fault === "lost") throw new TypeError("Failed to fetch");
      return failure(found?.fault as Exclude<Fault, "lost">);
    }
    if (path === "page/settings.json") return json(this.settings);
    if (this.token !== null && headers.get("authorization") !== `Bearer ${this.token}`) {
      return failure({ status: 401, code: "unauthenticated" });
    }
    return this.answer(method, url.pathname.replace(/^\/prefix\//, ""), url.searchParams, body, init);
  }

  private answer(
    method: string,
    path: string,
    query: URLSearchParams,
    body: Record<string, unknown> | null,
    init: RequestInit,
  ): Response {
    const [, kind = "", encoded = "", below = ""] = /^v1\/(\w+)(?:\/([^/]+))?(?:\/(\w+))?$/.exec(path) ?? [];
    const id = decodeURIComponent(encoded);
    if (kind === "models") return json({ data: this.models });
    if (kind === "responses" && method === "POST" && id === "") return this.start(body ?? {}, init);
    if (kind === "responses") {
      const run = this.runs.get(id);
      if (run === undefined) return failure({ status: 404, code: "response_not_found" });
      if (below === "cancel") {
        run.cancel();
        return json(run.response);
      }
      if (below === "feedback") {
        if (method === "GET") return json({ trace_url: run.entry.trace_url ?? null });
        run.entry.feedback = { user_feedback: { value: body?.value === true } };
        this.feedback.push(body);
        return json({ object: "response.feedback" });
      }
      if (below === "steer") {
        if (method === "GET") return json({ data: run.steers });
        if (run.ended) return failure({ status: 409, code: "response_already_completed" });
        const steer = { id: `steer_${++this.count}`, status: "queued", input: body?.input as InputItem[] };
        run.steers.push(steer);
        return json(steer);
      }
      if (below === "input_items") return json(pageOf(run.input, query));
      if (run.entry.object === "items") return failure({ status: 404, code: "response_not_found" });
      if (query.get("stream") !== "true") return json(run.response);
      if (!run.logged) return failure({ status: 410, code: "event_log_expired" });
      return this.stream(run, Number(query.get("starting_after") ?? -1) + 1, init);
    }
    if (kind !== "conversations") return failure({ status: 404, code: "not_found" });
    if (id === "") {
      const words = (query.get("query") ?? "").toLowerCase();
      const found = [...this.conversations.values()]
        .filter((one) => (one.title ?? "").toLowerCase().includes(words))
        .filter(
          (one) =>
            query.get("pinned") === null || String(one.metadata.pinned === "true") === query.get("pinned"),
        )
        .sort((a, b) => (b.updated_at ?? 0) - (a.updated_at ?? 0));
      return json(pageOf(found, query));
    }
    const conversation = this.conversations.get(id);
    if (conversation === undefined) return failure({ status: 404, code: "conversation_not_found" });
    if (below === "responses") {
      const runs = [...this.runs.values()].filter((run) => run.conversation === id);
      return json(pageOf(runs.map((run) => run.entry).reverse(), query));
    }
    const runs = [...this.runs.values()].some((run) => run.conversation === id && !run.ended);
    if (method === "DELETE" && runs) return failure({ status: 409, code: "conversation_busy" });
    if (method === "DELETE") this.conversations.delete(id);
    if (method === "POST") this.conversations.set(id, { ...conversation, ...body });
    return json(this.conversations.get(id) ?? { deleted: true });
  }

  private start(body: Record<string, unknown>, init: RequestInit): Response {
    const key = new Headers(init.headers).get("idempotency-key") ?? "";
    const known = this.keys.get(key);
    if (known !== undefined) return this.stream(known, 0, init);
    const parent = this.runs.get(String(body.previous_response_id));
    const open = [...this.runs.values()].find(
      (run) => run.conversation === parent?.conversation && !run.ended,
    );
    if (open !== undefined) return failure({ status: 409, code: "conversation_busy" });
    const run = this.begin(body);
    this.keys.set(key, run);
    return this.stream(run, 0, init);
  }

  private stream(run: FakeRun, from: number, init: RequestInit): Response {
    const encoder = new TextEncoder();
    let next = from;
    let sent = 0;
    const cut = this.cuts.shift() ?? Number.POSITIVE_INFINITY;
    let forget = () => {};
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const pump = () => {
          while (next < run.events.length) {
            const event = run.events[next++];
            this.torn(
              encoder.encode(`event: ${event?.type}\ndata: ${JSON.stringify(event)}\n\n`),
              (bytes) => {
                if (sent < cut) controller.enqueue(bytes.subarray(0, cut - sent));
                sent += bytes.length;
              },
            );
            if (sent >= cut) {
              forget();
              controller.error(new TypeError("network error"));
              return;
            }
          }
          if (run.ended) {
            forget();
            controller.enqueue(encoder.encode("data: [DONE]\n\n"));
            controller.close();
          }
        };
        forget = run.listen(pump);
        init.signal?.addEventListener("abort", () => {
          forget();
          controller.error(init.signal?.reason);
        });
        pump();
      },
      cancel: () => forget(),
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  private torn(bytes: Uint8Array, send: (some: Uint8Array) => void): void {
    for (let begin = 0; begin < bytes.length; ) {
      const end = begin + 1 + wholeOf(this.random, 300);
      send(bytes.subarray(begin, end));
      begin = end;
    }
  }
}

function json(value: unknown): Response {
  return new Response(JSON.stringify(value), { headers: { "content-type": "application/json" } });
}

function failure({ status, code, headers, body }: Exclude<Fault, "lost">): Response {
  const error = { error: { message: `it is ${code}`, type: "error", param: null, code } };
  return new Response(body ?? JSON.stringify(error), { status, headers: headers ?? {} });
}

function pageOf(all: readonly object[], query: URLSearchParams) {
  const ids = all.map((one) => ("id" in one ? one.id : null));
  const limit = Number(query.get("limit") ?? 20);
  const begin = query.has("after") ? ids.indexOf(query.get("after")) + 1 : 0;
  const data = all.slice(begin, begin + limit);
  return {
    object: "list",
    data: structuredClone(data),
    first_id: ids[begin] ?? null,
    last_id: ids[begin + data.length - 1] ?? null,
    has_more: begin + limit < all.length,
  };
}

/** Follows one run: asks for it, reads its stream, and comes back when the connection breaks. */

import { batch } from "@preact/signals";
import { type Api, ApiError, ConnectionLost, lost } from "../api/http";
import { problem, problemOf } from "../api/problems";
import { readEvents } from "../api/sse";
import type { ResponseEntry, ResponseObject, StreamEvent } from "../api/wire";
import type { AnswerState } from "./answer";
import type { Surroundings } from "./surroundings";

/** The service sends a comment every 10 seconds at most, unless its operator has changed that. */
const SILENCE_SECONDS = 45;

/** How often a request that has got no answer is sent, before the reader is asked. */
const MOST_TRIES = 7;

/** How long events are folded in one frame. A stream that is read again arrives all at once. */
const FRAME_SECONDS = 0.006;

/** Events that are folded before the time is looked at. */
const AT_A_TIME = 50;

/** What arrives so soon after joining has mostly happened before. */
const REPLAY_MS = 1500;

const STOP_WAITS_MS = 5000;

export interface RunOptions {
  api: Api;
  surroundings: Surroundings;
  answer: AnswerState;
  /** The ids are known: the run has begun. */
  began?: (responseId: string, conversationId: string | null) => void;
}

/** The address of a response, which depends on where it was made. */
export function addressOf(responseId: string, family: ResponseEntry["family"]): string {
  return `${family === "openai" ? "v1/" : ""}responses/${encodeURIComponent(responseId)}`;
}

export class Run {
  private readonly closing = new AbortController();
  private readonly queue: StreamEvent[] = [];
  private scheduled = false;
  private drained: (() => void)[] = [];
  private address: string | null = null;
  private stopping = false;
  private pausing = false;

  constructor(private readonly options: RunOptions) {}

  /** Start a run, and read it to its end. `key` makes a repeated request find the run that exists. */
  async post(body: unknown, key: string): Promise<void> {
    await this.follow(() =>
      this.options.api.open("POST", "v1/responses", {
        body,
        headers: { "idempotency-key": key },
        signal: this.closing.signal,
      }),
    );
  }

  /** Read a run that exists, from its first event, to its end. */
  async join(responseId: string, family: ResponseEntry["family"]): Promise<void> {
    this.address = addressOf(responseId, family);
    this.replays();
    await this.follow(() => this.joined());
  }

  /** Stop the run at the service. Throws `ApiError` and `ConnectionLost`. */
  async stop(): Promise<void> {
    this.stopping = true;
    if (this.address !== null) {
      await this.cancel();
      return;
    }
    // It stops as soon as its id is known. A service that does not answer has probably not begun it.
    const giveUp = () => {
      if (this.address !== null) return;
      this.close();
      this.options.answer.status.value = "cancelled";
    };
    if (this.pausing) giveUp();
    else this.options.surroundings.clock.after(STOP_WAITS_MS, giveUp);
  }

  /** Stop reading. The run goes on. */
  close(): void {
    this.closing.abort(new ConnectionLost("closed"));
    this.queue.length = 0;
    this.release();
  }

  private get closed(): boolean {
    return this.closing.signal.aborted;
  }

  private async cancel(): Promise<void> {
    const response = await this.options.api.json<ResponseObject>("POST", `${this.address}/cancel`);
    if (response.status === "in_progress" || response.status === "queued" || this.closed) return;
    await this.settled();
    if (!this.options.answer.ended) batch(() => this.options.answer.load(response));
  }

  private joined(): Promise<Response> {
    const { lastNumber } = this.options.answer;
    return this.options.api.open("GET", this.address ?? "", {
      query: { stream: true, starting_after: lastNumber < 0 ? null : lastNumber },
      signal: this.closing.signal,
    });
  }

  private replays(): void {
    const { answer, surroundings } = this.options;
    answer.live = false;
    surroundings.clock.after(REPLAY_MS, () => {
      answer.live = true;
    });
  }

  // -- the connection ------------------------------------------------------------------------------------------

  private async follow(ask: () => Promise<Response>): Promise<void> {
    const { answer } = this.options;
    await this.readToEnd(ask);
    // A run without a reader ends by itself after a while, such as when a machine sleeps.
    if (answer.status.peek() === "cancelled" && !this.stopping && answer.problem.peek() === null) {
      answer.problem.value = problem("left_alone", null);
    }
  }

  private async readToEnd(ask: () => Promise<Response>): Promise<void> {
    const { answer } = this.options;
    let tries = 0;
    for (;;) {
      const before = answer.lastNumber;
      let wait: number | null = null;
      try {
        const complete = await this.read(await (this.address === null ? ask() : this.joined()));
        if (this.closed || answer.ended) return;
        if (complete) {
          await this.readStored();
          return;
        }
      } catch (error) {
        if (this.closed) return;
        await this.settled();
        if (answer.ended) return;
        if (this.isOver(error)) {
          await this.readStored();
          return;
        }
        if (!this.mayTryAgain(error, tries)) {
          batch(() => answer.fail(problemOf(error)));
          return;
        }
        wait = error instanceof ApiError ? error.retryAfter : null;
      }
      tries = answer.lastNumber > before ? 0 : tries + 1;
      // A connection that comes back at once is no news. A service that answers is not away.
      if (tries > (this.address === null ? 1 : 0) && wait === null) answer.status.value = "lost";
      await this.pause(wait === null ? pauseOf(tries) : Math.min(wait, 30) * 1000);
      if (this.closed) return;
    }
  }

  /** The stream cannot be joined any more. The response itself may still be there. */
  private isOver(error: unknown): boolean {
    return (
      this.address !== null && error instanceof ApiError && (error.status === 410 || error.status === 409)
    );
  }

  private mayTryAgain(error: unknown, tries: number): boolean {
    const passes =
      error instanceof ConnectionLost ||
      (error instanceof ApiError && (error.status === 503 || /^http_50[024]$/.test(error.code)));
    if (this.address === null) return passes && tries + 1 < MOST_TRIES;
    // The run goes on without this page, so what became of it is worth waiting for.
    return passes || (error instanceof ApiError && (error.status === 429 || error.status >= 500));
  }

  private async readStored(): Promise<void> {
    const { api, answer, surroundings } = this.options;
    for (let tries = 0; !this.closed; tries++) {
      try {
        const response = await api.json<ResponseObject>("GET", this.address ?? "", {
          signal: this.closing.signal,
        });
        if (this.closed) return;
        batch(() => answer.load(response));
        if (answer.ended) return;
      } catch (error) {
        if (this.closed) return;
        if (!this.mayTryAgain(error, tries)) {
          batch(() => answer.fail(problemOf(error)));
          return;
        }
      }
      // A run whose events are not to be had is asked for from time to time.
      answer.status.value = surroundings.presence.online() ? answer.status.peek() : "lost";
      await this.pause(pauseOf(tries + 2));
    }
  }

  /** Read a stream. Returns whether it was complete. */
  private async read(response: Response): Promise<boolean> {
    if (response.body === null) return false;
    const { answer, surroundings } = this.options;
    const silence = new AbortController();
    const signal = AbortSignal.any([this.closing.signal, silence.signal]);
    let heard = surroundings.clock.now();
    let forget = () => {};
    const watch = () => {
      forget = surroundings.clock.after((SILENCE_SECONDS * 1000) / 3, () => {
        if (surroundings.clock.now() - heard > SILENCE_SECONDS) silence.abort(new ConnectionLost("silence"));
        else watch();
      });
    };
    watch();
    try {
      const complete = await readEvents(response.body, signal, (events) => {
        heard = surroundings.clock.now();
        if (answer.status.peek() === "lost") answer.status.value = "in_progress";
        this.push(events);
      });
      await this.settled();
      return complete;
    } catch (error) {
      throw lost(error, signal);
    } finally {
      forget();
    }
  }

  private async pause(milliseconds: number): Promise<void> {
    this.pausing = true;
    await new Promise<void>((resume) => {
      const { clock, presence } = this.options.surroundings;
      const done = () => {
        forget();
        unlisten();
        this.closing.signal.removeEventListener("abort", done);
        resume();
      };
      const forget = clock.after(milliseconds, done);
      const unlisten = presence.listen(() => {
        if (presence.online() && presence.visible()) done();
      });
      this.closing.signal.addEventListener("abort", done);
    });
    this.pausing = false;
  }

  // -- the events ----------------------------------------------------------------------------------------------

  private push(events: readonly StreamEvent[]): void {
    for (const event of events) this.queue.push(event);
    this.schedule();
  }

  private schedule(): void {
    if (this.scheduled || this.queue.length === 0) return;
    this.scheduled = true;
    this.options.surroundings.clock.frame(() => {
      this.scheduled = false;
      this.fold();
    });
  }

  /** Show what has arrived. Text comes in up to 2,000 pieces a second, and the page draws 60 times. */
  private fold(): void {
    const { answer, surroundings } = this.options;
    const { clock } = surroundings;
    if (!this.closed) {
      batch(() => {
        for (const until = clock.now() + FRAME_SECONDS; ; ) {
          for (const event of this.queue.splice(0, AT_A_TIME)) folded(answer, event);
          if (this.queue.length === 0 || clock.now() >= until) break;
        }
      });
      this.begin();
    }
    if (this.queue.length > 0) this.schedule();
    else this.release();
  }

  private begin(): void {
    const { answer, began } = this.options;
    const id = answer.responseId.peek();
    if (id === null || this.address !== null) return;
    this.address = addressOf(id, "openai");
    began?.(id, answer.conversationId.peek());
    if (this.stopping && !answer.ended) this.cancel().catch(() => {});
  }

  /** Resolves when everything that has arrived is shown. */
  private settled(): Promise<void> {
    if (this.queue.length === 0) return Promise.resolve();
    return new Promise((done) => {
      this.drained.push(done);
      this.schedule();
    });
  }

  private release(): void {
    for (const done of this.drained.splice(0)) done();
  }
}

/** An event of a form that this page does not know must not end the answer. */
function folded(answer: AnswerState, event: StreamEvent): void {
  try {
    answer.apply(event);
  } catch {
    // The stored response, or the last event, has everything that counts.
  }
}

/** Milliseconds until the next try: at once, then longer and longer. A run waits 20 seconds for its reader. */
function pauseOf(tries: number): number {
  return tries <= 0 ? 0 : Math.min(500 * 2 ** (tries - 1), 15_000);
}

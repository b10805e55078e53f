/** Reads server-sent events from the body of an answer, in pieces as they arrive. */

import type { StreamEvent } from "./wire";

/** The most characters of one frame. The last event of a stream repeats the whole answer. */
export const LONGEST_FRAME = 64 * 1024 * 1024;

/** A frame is larger than the page can hold. */
export class FrameTooLarge extends Error {
  override readonly name = "FrameTooLarge";
}

/**
 * Cuts bytes into the events of `data:` frames. Bytes may be torn anywhere, also within a character. Comments,
 * `id:` and `event:` lines, and frames that are not JSON objects are skipped.
 */
export class FrameReader {
  /** Whether `[DONE]` was read. */
  done = false;
  private readonly decoder = new TextDecoder();
  private rest = "";
  private data: string[] = [];
  private size = 0;

  constructor(private readonly longest = LONGEST_FRAME) {}

  /** The events that these bytes complete. */
  feed(bytes: Uint8Array): StreamEvent[] {
    const events: StreamEvent[] = [];
    // Only the new text is searched, because a long line arrives in many pieces.
    let searched = this.rest.length;
    const text = this.rest + this.decoder.decode(bytes, { stream: true });
    let begin = 0;
    for (;;) {
      const end = text.indexOf("\n", searched);
      if (end < 0) break;
      this.line(text.slice(begin, text[end - 1] === "\r" ? Math.max(begin, end - 1) : end), events);
      begin = end + 1;
      searched = begin;
    }
    this.rest = text.slice(begin);
    if (this.rest.length + this.size > this.longest) throw new FrameTooLarge("an event is too large");
    return events;
  }

  private line(line: string, events: StreamEvent[]): void {
    if (line === "") {
      const event = this.data.length > 0 ? this.event(this.data.join("\n")) : null;
      if (event !== null) events.push(event);
      this.data = [];
      this.size = 0;
    } else if (line.startsWith("data:")) {
      const value = line.slice(line[5] === " " ? 6 : 5);
      this.data.push(value);
      this.size += value.length;
    }
  }

  private event(data: string): StreamEvent | null {
    if (data === "[DONE]") {
      this.done = true;
      return null;
    }
    try {
      const value: unknown = JSON.parse(data);
      return typeof value === "object" && value !== null && !Array.isArray(value)
        ? (value as StreamEvent)
        : null;
    } catch {
      return null;
    }
  }
}

/**
 * Read a body to its end. `heard` gets the events of each piece together, none for a comment. Returns whether the
 * stream was complete, which means that it ended with `[DONE]`. Throws the reason of `signal` when that is aborted.
 */
export async function readEvents(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
  heard: (events: StreamEvent[]) => void,
): Promise<boolean> {
  const frames = new FrameReader();
  const reader = body.getReader();
  const leave = () => {
    reader.cancel(signal.reason).catch(() => {});
  };
  signal.addEventListener("abort", leave);
  try {
    while (!frames.done) {
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) return false;
      heard(frames.feed(value));
    }
    // The service closes the connection now. A reader that closes it first would see a failed request.
    reader.read().then(leave, leave);
    return true;
  } catch (error) {
    leave();
    throw error;
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

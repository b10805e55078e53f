// @vitest-environment node
import { expect, test } from "vitest";
import { randomOf, wholeOf } from "../conversation/telling.testing";
import { FrameReader, FrameTooLarge, readEvents } from "./sse";
import type { StreamEvent } from "./wire";

const EVENTS = Array.from({ length: 20 }, (_, number) => ({
  type: "response.output_text.delta",
  sequence_number: number,
  delta: "日本 👩‍🚀 𝔘 \n\r\u2028 data: [DONE]",
}));

function bytesOf(events: readonly StreamEvent[], end = "data: [DONE]\n\n"): Uint8Array {
  const frames = events.map(
    (event) => `id: ${event.sequence_number}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`,
  );
  return new TextEncoder().encode(`: keep-alive\n\n${frames.join(": keep-alive\n\n")}${end}`);
}

test("Events are the same wherever their bytes are torn.", () => {
  const bytes = bytesOf(EVENTS);
  for (let seed = 0; seed < 60; seed++) {
    const random = randomOf(seed);
    const frames = new FrameReader();
    const events: StreamEvent[] = [];
    for (let begin = 0; begin < bytes.length; ) {
      const end = begin + 1 + wholeOf(random, random() < 0.5 ? 5 : 400);
      events.push(...frames.feed(bytes.subarray(begin, end)));
      begin = end;
    }
    expect(events, `seed ${seed}`).toEqual(EVENTS);
    expect(frames.done).toBe(true);
  }
});

test("A frame may have several data lines and lines that end as on Windows.", () => {
  const frames = new FrameReader();
  const text = 'data: {"type":\r\ndata:"a","sequence_number":1}\r\n\r\n';
  expect(frames.feed(new TextEncoder().encode(text))).toEqual([{ type: "a", sequence_number: 1 }]);
});

test("What is not a JSON object is skipped.", () => {
  const frames = new FrameReader();
  const text = 'data: {"type": \n\ndata: [1]\n\ndata: null\n\ndata: {"type":"b","sequence_number":2}\n\n';
  expect(frames.feed(new TextEncoder().encode(text))).toEqual([{ type: "b", sequence_number: 2 }]);
});

test("A frame without an end is refused before it fills the memory.", () => {
  const frames = new FrameReader(1000);
  const piece = new Uint8Array(250).fill(0x61);
  expect(() => {
    for (let pieces = 0; pieces < 6; pieces++) frames.feed(piece);
  }).toThrow(FrameTooLarge);
});

test("A stream that ends without [DONE] is not complete.", async () => {
  const complete = await Promise.all(
    ["data: [DONE]\n\n", ""].map((end) =>
      readEvents(
        new Blob([bytesOf(EVENTS, end) as BlobPart]).stream(),
        new AbortController().signal,
        () => {},
      ),
    ),
  );
  expect(complete).toEqual([true, false]);
});

test("A reader that is stopped frees the connection.", async () => {
  let freed = false;
  const body = new ReadableStream<Uint8Array>({
    cancel: () => {
      freed = true;
    },
  });
  const stopping = new AbortController();
  const reading = readEvents(body, stopping.signal, () => {});
  stopping.abort(new Error("enough"));
  await expect(reading).rejects.toThrow("enough");
  expect(freed).toBe(true);
});

import { signal } from "@preact/signals";
import { expect, test } from "vitest";
import recording from "../../../tests/serving/recorded/openai.jsonl?raw";
import type { ResponseObject, StreamEvent } from "../api/wire";
import { AnswerState } from "./answer";
import { shownOf } from "./shown.testing";

function events(text: string): StreamEvent[] {
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as StreamEvent);
}

function made(): AnswerState {
  const decided = signal(null);
  return new AnswerState({ now: () => 1000, decided: () => decided });
}

test("A stored response shows the same as its stream did.", () => {
  const streamed = made();
  for (const event of events(recording)) streamed.apply(event);
  const stored = made();
  stored.load(events(recording).at(-1)?.response as ResponseObject);
  expect(shownOf(streamed)).toEqual(shownOf(stored));
  expect(shownOf(streamed)).toMatchObject({ status: "completed", problem: null });
});

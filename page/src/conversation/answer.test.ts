// @vitest-environment node
import { signal } from "@preact/signals";
import { expect, test } from "vitest";
import conversation from "../../../tests/serving/recorded/conversation.jsonl?raw";
import databricks from "../../../tests/serving/recorded/databricks.jsonl?raw";
import failed from "../../../tests/serving/recorded/failed-openai.jsonl?raw";
import recording from "../../../tests/serving/recorded/openai.jsonl?raw";
import type { OutputItem, ResponseObject, StreamEvent } from "../api/wire";
import { AnswerState } from "./answer";
import { shownOf } from "./shown.testing";
import { ALONE, anyAnswer, randomOf, saying, wholeOf } from "./telling.testing";

const NAMES = { openai: recording, databricks, failed };

function eventsOf(text: string): StreamEvent[] {
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as StreamEvent);
}

function made(): AnswerState {
  const decided = signal(null);
  return new AnswerState({ now: () => 1000, decided: () => decided });
}

function folded(events: readonly StreamEvent[]): AnswerState {
  const answer = made();
  for (const event of events) answer.apply(event);
  return answer;
}

function loaded(response: ResponseObject): AnswerState {
  const answer = made();
  answer.load(response);
  return answer;
}

test.each(Object.entries(NAMES))(
  "A stored response shows the same as its recorded stream did: %s.",
  (_, text) => {
    const events = eventsOf(text);
    const stored = loaded(events.at(-1)?.response as ResponseObject);
    expect(shownOf(folded(events))).toEqual(shownOf(stored));
  },
);

const RUNS = conversation
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as { said: unknown; events: StreamEvent[]; stored: ResponseObject });

test("A stored response shows its steps, citations and approvals as its recorded stream did.", () => {
  for (const { said, events, stored } of RUNS) {
    expect(shownOf(folded(events)), String(said)).toEqual(shownOf(loaded(stored)));
  }
});

test("A recorded search shows its documents at its step, and cites them with their passages.", () => {
  const { parts } = folded(RUNS.find(({ said }) => said === "search hours")?.events ?? []);
  const steps = parts.value.flatMap((part) => (part.kind === "step" ? [part] : []));
  expect(steps.map((one) => `${one.step.value.name} ${one.documents.value.length}`)).toEqual([
    "planner 0",
    "retriever 1",
    "planner 0",
  ]);
  const cited = parts.value.flatMap((part) => (part.kind === "text" ? part.citations.value : []));
  expect(cited.map((one) => [one.number, one.title, one.passage])).toEqual([
    [1, "The library", "The library closes at 8 o'clock."],
    [2, "The museum", "The museum closes at 6 o'clock."],
  ]);
});

test("A recorded approval says what may be decided, and keeps its id when it is asked again.", () => {
  const asked = RUNS.map(({ events }) =>
    folded(events).parts.value.flatMap((part) => (part.kind === "approval" ? [part] : [])),
  );
  const [both = [], rest = [], none = []] = asked.slice(-3);
  expect(both[0]?.decisions).toEqual(["approve", "edit", "reject", "respond"]);
  expect(both[0]?.schema).toMatchObject({ properties: { to: { type: "string" } } });
  expect([rest.map((one) => one.id), none.length]).toEqual([[both[1]?.id], 0]);
});

test("A stored response shows the same as its stream did, whatever the answer consists of.", () => {
  for (let seed = 0; seed < 60; seed++) {
    const { events, response } = anyAnswer(seed);
    expect(shownOf(folded(events)), `seed ${seed}`).toEqual(shownOf(loaded(response)));
  }
});

test("Events that come twice change nothing, wherever the stream stands.", () => {
  for (let seed = 0; seed < 20; seed++) {
    const all = anyAnswer(seed).events;
    const events = all.slice(0, wholeOf(randomOf(seed), all.length));
    const twice = events.flatMap((_, index) => events.slice(Math.max(0, index - 3), index + 1));
    expect(shownOf(folded(twice)), `seed ${seed}`).toEqual(shownOf(folded(events)));
  }
});

test("What was told in vain is gone as soon as the service says so.", () => {
  const { events } = saying("Half an ans", ALONE);
  const told = events.slice(0, -1);
  const item_ids = told.flatMap((event) => (typeof event.item_id === "string" ? [event.item_id] : []));
  const answer = folded(told);
  expect(answer.parts.value.length).toBe(1);
  answer.apply({
    type: "graph_agent:items_discarded",
    sequence_number: told.length,
    output_indexes: [0],
    item_ids,
  });
  expect(answer.parts.value).toEqual([]);
});

test("Reasoning in several parts is one text with paragraphs, while it streams and later.", () => {
  const { events, response } = saying("", ALONE);
  const item = { type: "reasoning", id: "rs_1", summary: [] };
  const pieces = ["First ", "this."].flatMap((delta, summary_index) => [
    { type: "response.reasoning_summary_part.added", item_id: "rs_1", output_index: 0, summary_index },
    { type: "response.reasoning_summary_text.delta", item_id: "rs_1", output_index: 0, summary_index, delta },
  ]);
  const answer = folded([
    ...events.slice(0, 2),
    { type: "response.output_item.added", sequence_number: 2, output_index: 0, item },
    ...pieces.map((event, index) => ({ ...event, sequence_number: 3 + index })),
  ]);
  const summary = [
    { type: "summary_text" as const, text: "First " },
    { type: "summary_text" as const, text: "this." },
  ];
  const stored = loaded({ ...response, output: [{ ...item, summary } as OutputItem] });
  const texts = [answer, stored].map(({ parts }) =>
    parts.value.map((part) => part.kind === "reasoning" && part.text.value),
  );
  expect(texts).toEqual([["First \n\nthis."], ["First \n\nthis."]]);
});

test("A recorded answer has its reasoning, its tool calls and its texts in the order in which they began.", () => {
  const answer = folded(eventsOf(recording));
  const parts = answer.parts.value.map((part) => {
    if (part.kind === "tool") return `${part.name} ${part.status}`;
    return part.kind === "text" ? `text ${part.phase}` : part.kind;
  });
  expect(parts).toEqual([
    "reasoning",
    "text commentary",
    "weather completed",
    "weather completed",
    "broken failed",
    "text commentary",
    "text final_answer",
  ]);
});

test("The objects of parts stay the same from their first piece to the stored response.", () => {
  const { events, response } = saying("Good morning, Ann.", ALONE);
  const answer = folded(events.slice(0, 6));
  const [before] = answer.parts.value;
  for (const event of events.slice(6)) answer.apply(event);
  answer.load(response);
  expect(answer.parts.value[0]).toBe(before);
});

test("A text grows piece by piece, and is whole when it is done.", () => {
  const { events } = saying("Good morning, Ann.", ALONE);
  const answer = made();
  const seen = new Set<string>();
  for (const event of events) {
    answer.apply(event);
    const [part] = answer.parts.value;
    if (part?.kind === "text") seen.add(`${part.streaming.value} ${part.text.value}`);
  }
  expect([...seen]).toEqual([
    "true ",
    "true Good ",
    "true Good morning, ",
    "true Good morning, Ann.",
    "false Good morning, Ann.",
  ]);
});

test("A stopped answer has no problem, and keeps what was said.", () => {
  const seed = Array.from({ length: 100 }, (_, one) => one).find(
    (one) => anyAnswer(one).response.status === "cancelled",
  );
  const answer = folded(anyAnswer(seed ?? 0).events);
  expect([answer.status.value, answer.problem.value]).toEqual(["cancelled", null]);
});

test("Nothing goes on in an answer that has failed before its items were closed.", () => {
  const answer = folded(saying("Half an answer.", ALONE).events.slice(0, 6));
  answer.fail({ code: "network", message: "Gone.", detail: null, retryable: true });
  const [part] = answer.parts.value;
  expect(part?.kind === "text" && part.streaming.value).toBe(false);
  expect(answer.status.value).toBe("failed");
});

test("Found documents stand at their step as soon as they are found.", () => {
  const node = {
    id: "node_1",
    name: "retriever",
    path: ["retriever"],
    status: "in_progress",
    started_at: 1,
    seconds: null,
  };
  const documents = [
    { number: 1, title: "The library", url: "https://docs.example/library", text: "Open until 8." },
  ];
  const answer = folded([
    { type: "graph_agent:node", sequence_number: 0, node },
    {
      type: "graph_agent:documents",
      sequence_number: 1,
      node_id: "node_1",
      call_id: null,
      query: "hours",
      documents,
    },
  ]);
  const [part] = answer.parts.value;
  expect(part?.kind === "step" && part.documents.value).toEqual([{ query: "hours", documents }]);
});

test("A response that is being made shows what it has so far as still growing.", () => {
  const { response } = saying("Half", ALONE);
  const output = response.output.map((item) => ({ ...item, status: "in_progress" }));
  const answer = loaded({ ...response, status: "in_progress", output });
  const [part] = answer.parts.value;
  expect([answer.status.value, part?.kind === "text" && part.streaming.value]).toEqual(["in_progress", true]);
});

test("An answer that goes on in the next one, because something was said meanwhile, has no problem.", () => {
  const ended = eventsOf(recording).at(-1)?.response as ResponseObject;
  const reasons = ["steered", "max_output_tokens"];
  const problems = reasons.map(
    (reason) =>
      loaded({ ...ended, status: "incomplete", incomplete_details: { reason } }).problem.value?.code ?? null,
  );
  expect(problems).toEqual([null, "max_output_tokens"]);
});

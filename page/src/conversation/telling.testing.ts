/** Makes up answers, and tells them as streams do, for tests. The same seed makes the same answer. */

import type {
  ApprovalRequestItem,
  McpCallItem,
  MessageItem,
  NodeStep,
  OutputItem,
  OutputText,
  ReasoningItem,
  ResponseObject,
  StreamEvent,
} from "../api/wire";

export type Random = () => number;

/** Numbers from 0 to 1 that a seed determines. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export function wholeOf(random: Random, below: number): number {
  return Math.floor(random() * below);
}

const WORDS = [
  "Ärger",
  "日本",
  "👩‍🚀 launch",
  "plain",
  "مرحبا",
  "𝔘nicode",
  "two words",
  "\n\n- a list",
  "`code`",
];

function words(random: Random): string[] {
  return Array.from({ length: wholeOf(random, 12) }, () => `${WORDS[wholeOf(random, WORDS.length)]} `);
}

/** A response that has ended, and the events that its stream had. */
export interface Told {
  response: ResponseObject;
  events: StreamEvent[];
}

export interface Telling {
  id: string;
  conversation: string;
  previous: string | null;
  model: string;
  createdAt: number;
}

export const ALONE: Telling = {
  id: "resp_1",
  conversation: "conv_1",
  previous: null,
  model: "talk",
  createdAt: 1000,
};

/** A text answer in pieces. */
export function saying(text: string, telling: Telling): Told {
  const teller = new Teller(telling, randomOf(1));
  teller.text(text.split(/(?<= )/), "final_answer");
  return teller.end("completed");
}

/** An answer with a little of everything. */
export function anyAnswer(seed: number, telling: Telling = ALONE): Told {
  const random = randomOf(seed);
  const teller = new Teller(telling, random);
  if (random() < 0.2) teller.queued();
  for (let items = wholeOf(random, 7); items > 0; items--) {
    const kind = wholeOf(random, 7);
    if (kind === 0) teller.reasoning(words(random));
    else if (kind === 1) teller.call(random() < 0.3);
    else if (kind === 2) teller.discarded(words(random));
    else if (kind === 3) teller.unknown();
    else teller.text(words(random), random() < 0.5 ? "commentary" : null);
  }
  if (random() < 0.2) teller.approval();
  else teller.text(words(random), "final_answer");
  const ends = ["completed", "completed", "completed", "incomplete", "failed", "cancelled"] as const;
  return teller.end(ends[wholeOf(random, ends.length)] ?? "completed");
}

class Teller {
  private readonly events: StreamEvent[] = [];
  private readonly output: OutputItem[] = [];
  private readonly steps: NodeStep[] = [];
  private index = 0;

  constructor(
    private readonly telling: Telling,
    private readonly random: Random,
  ) {
    this.tell("response.created", { response: this.response("in_progress") });
    this.tell("response.in_progress", { response: this.response("in_progress") });
  }

  queued(): void {
    this.tell("response.queued", { response: this.response("queued") });
    this.tell("response.in_progress", { response: this.response("in_progress") });
  }

  text(pieces: string[], phase: MessageItem["phase"]): void {
    const item: MessageItem = {
      type: "message",
      id: this.name("msg"),
      role: "assistant",
      status: "in_progress",
      content: [],
    };
    const text = pieces.join("");
    this.around(item, () => {
      const refusal = this.random() < 0.1;
      const where = { item_id: item.id, output_index: this.index, content_index: 0 };
      const empty = refusal
        ? { type: "refusal", refusal: "" }
        : { type: "output_text", text: "", annotations: [] };
      this.tell("response.content_part.added", { ...where, part: empty });
      const kind = refusal ? "refusal" : "output_text";
      for (const delta of pieces) this.tell(`response.${kind}.delta`, { ...where, delta });
      const annotations = refusal ? [] : this.citations(text);
      for (const [position, annotation] of annotations.entries()) {
        this.tell("response.output_text.annotation.added", {
          ...where,
          annotation_index: position,
          annotation,
        });
      }
      this.tell(`response.${kind}.done`, { ...where, ...(refusal ? { refusal: text } : { text }) });
      const part = refusal
        ? { type: "refusal" as const, refusal: text }
        : { type: "output_text" as const, text, annotations };
      this.tell("response.content_part.done", { ...where, part });
      return { ...item, status: "completed" as const, content: [part], ...(phase ? { phase } : {}) };
    });
  }

  reasoning(pieces: string[]): void {
    const item: ReasoningItem = { type: "reasoning", id: this.name("rs"), summary: [] };
    this.around(item, () => {
      const where = { item_id: item.id, output_index: this.index, summary_index: 0 };
      const part = { type: "summary_text" as const, text: pieces.join("") };
      this.tell("response.reasoning_summary_part.added", { ...where, part: { ...part, text: "" } });
      for (const delta of pieces) this.tell("response.reasoning_summary_text.delta", { ...where, delta });
      this.tell("response.reasoning_summary_text.done", { ...where, text: part.text });
      return { ...item, summary: [part] };
    });
  }

  call(fails: boolean): void {
    const step: NodeStep = {
      id: this.name("node"),
      name: "tools",
      path: ["tools"],
      status: "in_progress",
      started_at: 5,
      seconds: null,
    };
    this.tell("graph_agent:node", { node: step });
    const ended: NodeStep = { ...step, status: fails ? "failed" : "completed", seconds: 0.5 };
    this.steps.push({ ...ended, output_index: this.output.length });
    const item: McpCallItem = {
      type: "mcp_call",
      id: this.name("mcp"),
      name: "weather",
      arguments: "",
      output: null,
      error: null,
      status: "in_progress",
    };
    this.around(item, () => {
      const where = { item_id: item.id, output_index: this.index };
      for (const delta of ['{"city": ', '"Rome"}'])
        this.tell("response.mcp_call_arguments.delta", { ...where, delta });
      this.tell("response.mcp_call_arguments.done", { ...where, arguments: '{"city": "Rome"}' });
      this.tell(`response.mcp_call.${fails ? "failed" : "completed"}`, where);
      const result = fails ? { error: "the tool failed" } : { output: "21 degrees" };
      return { ...item, ...result, arguments: '{"city": "Rome"}', status: fails ? "failed" : "completed" };
    });
    this.tell("graph_agent:node", { node: ended });
  }

  approval(): void {
    const item: ApprovalRequestItem = {
      type: "mcp_approval_request",
      id: this.name("mcpr"),
      name: "send",
      arguments: '{"to": "ann"}',
    };
    this.around(item, () => item);
  }

  /** An item that is told, and told again because its process died. */
  discarded(pieces: string[]): void {
    const before = this.output.length;
    this.text(pieces, "commentary");
    const [gone] = this.output.splice(before, 1);
    this.tell("graph_agent:items_discarded", { output_indexes: [this.index - 1], item_ids: [gone?.id] });
    this.text(pieces, "commentary");
  }

  unknown(): void {
    this.tell("graph_agent:something_new", { of: "a later version" });
    const item = { type: "new_kind_of_item", id: this.name("new") };
    this.around(item, () => item);
  }

  end(status: ResponseObject["status"]): Told {
    const failed = status === "failed" || status === "cancelled";
    const code = status === "cancelled" ? "run_cancelled" : "graph_failed";
    const response: ResponseObject = {
      ...this.response(failed ? "failed" : status),
      completed_at: status === "completed" ? this.telling.createdAt + 3 : null,
      output: this.output,
      error: failed ? { code, message: "it failed" } : null,
      incomplete_details:
        status === "incomplete" ? { reason: "max_output_tokens", message: "Five steps." } : null,
      usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
      custom_outputs: { sources: SOURCES, steps: this.steps },
    };
    if (failed) this.tell("error", { code, message: "it failed" });
    this.tell(`response.${response.status}`, { response });
    // A store knows what events have no word for.
    const stored = status === "cancelled" ? { ...response, status, error: null } : response;
    return { response: stored, events: this.events };
  }

  private around(item: OutputItem, tell: () => OutputItem): void {
    this.tell("response.output_item.added", { output_index: this.index, item });
    const done = tell();
    this.tell("response.output_item.done", { output_index: this.index, item: done });
    this.output.push(done);
    this.index += 1;
  }

  private citations(text: string): NonNullable<OutputText["annotations"]> {
    const length = [...text].length;
    return Array.from({ length: wholeOf(this.random, 3) }, () => {
      const start = wholeOf(this.random, length + 1);
      const source = SOURCES[wholeOf(this.random, SOURCES.length)];
      const place = { start_index: start, end_index: Math.min(length, start + wholeOf(this.random, 4)) };
      return {
        type: "url_citation" as const,
        url: source?.doc_uri ?? "",
        title: source?.title ?? null,
        ...place,
      };
    });
  }

  private response(status: ResponseObject["status"]): ResponseObject {
    const { id, conversation, previous, model, createdAt } = this.telling;
    return {
      id,
      object: "response",
      status,
      created_at: createdAt,
      model,
      output: [],
      previous_response_id: previous,
      conversation: { id: conversation },
    };
  }

  private name(kind: string): string {
    return `${kind}_${this.telling.id}_${this.index}`;
  }

  private tell(type: string, fields: Record<string, unknown>): void {
    this.events.push({ type, sequence_number: this.events.length, ...structuredClone(fields) });
  }
}

const SOURCES = [
  { number: 1, doc_uri: "https://docs.example/library", title: "The library", text: "Open until 8." },
  { number: 2, doc_uri: "https://docs.example/museum", title: "The museum", text: "Open until 6." },
];

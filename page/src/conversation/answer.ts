/** Folds the events of a run, or a stored response, into what the page shows of an answer. */

import { computed, type Signal, signal } from "@preact/signals";
import { problem } from "../api/problems";
import type {
  ApprovalRequestItem,
  ApprovalResponseItem,
  FoundDocument,
  McpCallItem,
  MessageItem,
  NodeStep,
  OutputItem,
  ReasoningItem,
  ResponseObject,
  Source,
  Status,
  StreamEvent,
  UrlCitation,
} from "../api/wire";
import { passagesOf } from "./citations";
import { problemIn, secondsOf } from "./endings";
import type { Answer, Part, Problem } from "./model";
import { ApprovalState, ReasoningState, StepState, TextState, ToolState } from "./parts";
import { isStep, type Slot, Slots } from "./slots";

const ENDED: ReadonlySet<string> = new Set(["completed", "incomplete", "failed", "cancelled"]);

/** The most documents that are kept of an answer's searches. */
const MOST_DOCUMENTS = 500;

/** Where an approval finds what was decided: the conversation knows. */
export type Decided = (approvalId: string) => Signal<ApprovalResponseItem | null>;

export interface AnswerOptions {
  /** Seconds since 1970. */
  now: () => number;
  decided: Decided;
}

export class AnswerState implements Answer {
  readonly status = signal<Status | "sending" | "lost">("sending");
  readonly problem = signal<Problem | null>(null);
  readonly sources = signal<readonly Source[]>([]);
  readonly warnings = signal<readonly string[]>([]);
  readonly startedAt = signal<number | null>(null);
  readonly seconds = signal<number | null>(null);
  readonly totalTokens = signal<number | null>(null);
  readonly goesOn = signal(false);
  /** Approvals that are asked again in a later turn, and shown there. */
  readonly askedAgain = signal<ReadonlySet<string>>(new Set());
  readonly responseId = signal<string | null>(null);
  readonly conversationId = signal<string | null>(null);
  /** The number of the last event that was folded, -1 before the first. */
  lastNumber = -1;
  /** Whether what happens now happens for the first time, so that durations can be measured. */
  live = true;

  private readonly slots = new Slots();
  private readonly documents = signal<readonly FoundDocument[]>([]);
  private readonly passages = computed(() => passagesOf(this.sources.value, this.documents.value));

  readonly parts = computed<readonly Part[]>(() => {
    const hidden = this.askedAgain.value;
    return this.slots.parts.value.filter((part) => !hidden.has(part.id));
  });

  /** The ids of what it asks a person. */
  readonly approvals = computed<ReadonlySet<string>>(() => {
    const asked = this.slots.parts.value.filter((part) => part instanceof ApprovalState);
    return new Set(asked.map((part) => part.id));
  });

  /** Whether the run has ended, and the service has a response of it. */
  readonly isOver = computed(() => ENDED.has(this.status.value) && this.responseId.value !== null);

  constructor(private readonly options: AnswerOptions) {}

  get ended(): boolean {
    return ENDED.has(this.status.peek());
  }

  /** Forget everything, for another attempt. */
  reset(): void {
    this.status.value = "sending";
    this.problem.value = null;
    this.sources.value = [];
    this.warnings.value = [];
    this.startedAt.value = null;
    this.seconds.value = null;
    this.totalTokens.value = null;
    this.goesOn.value = false;
    this.documents.value = [];
    this.slots.clear();
    this.lastNumber = -1;
    this.live = true;
  }

  /** The run could not begin, or what became of it cannot be known. */
  fail(why: Problem): void {
    this.status.value = "failed";
    this.problem.value = why;
    this.settleOpen();
  }

  /** Fold one event. Events that were folded before, and unknown ones, change nothing. */
  apply(event: StreamEvent): void {
    const number = event.sequence_number;
    if (typeof number === "number") {
      if (number <= this.lastNumber) return;
      this.lastNumber = number;
    }
    if (this.ended && this.responseId.peek() !== null) return;
    switch (event.type) {
      case "response.created":
      case "response.queued":
      case "response.in_progress":
        this.begun(event.response as ResponseObject);
        return;
      case "response.completed":
      case "response.incomplete":
      case "response.failed":
        this.load(event.response as ResponseObject);
        return;
      case "response.output_item.added":
        this.item(event.item as OutputItem, event.output_index as number, false);
        return;
      case "response.output_item.done":
        this.item(event.item as OutputItem, event.output_index as number, true);
        return;
      case "graph_agent:node":
        this.step(event.node as NodeStep);
        return;
      case "graph_agent:documents":
        this.found(event);
        return;
      case "graph_agent:items_discarded":
        this.slots.discard(event.item_ids as string[]);
        return;
      case "error":
        this.problem.value = problem(String(event.code ?? "failed"), textOf(event.message));
        return;
      default:
        this.piece(event);
        return;
    }
  }

  /** Whether it was read as a stored response, which does not have everything that its events had. */
  get isStored(): boolean {
    return this.lastNumber < 0 && this.ended;
  }

  /** Fold what only the events of a stored response have. */
  recall(events: readonly StreamEvent[]): void {
    if (!this.isStored) return;
    for (const event of events) if (event.type === "graph_agent:documents") this.found(event);
  }

  /** Show a stored response: everything of it at once. Parts that are known already stay the same objects. */
  load(response: ResponseObject): void {
    this.begun(response);
    const ended = ENDED.has(response.status);
    const custom = response.custom_outputs ?? {};
    if (ended) {
      const stays = new Set(response.output.map((item, index) => keyOf(item, index)));
      const steps = new Set((custom.steps ?? []).map((step) => step.id));
      this.slots.keep(
        (slot) => stays.has(slot.id) || (custom.steps === undefined ? isStep(slot) : steps.has(slot.id)),
      );
    }
    this.sources.value = custom.sources ?? [];
    this.warnings.value = custom.warnings ?? [];
    const steps = [...(custom.steps ?? [])];
    for (const [index, item] of response.output.entries()) {
      while (steps[0] !== undefined && (steps[0].output_index ?? 0) <= index)
        this.step(steps.shift() as NodeStep);
      this.item(item, index, ended || ("status" in item && item.status !== "in_progress"));
    }
    for (const step of steps) this.step(step);
    if (!ended) return;
    this.settleOpen();
    this.totalTokens.value = response.usage?.total_tokens ?? null;
    this.goesOn.value = response.metadata?.successor_id !== undefined;
    this.seconds.value = this.seconds.peek() ?? secondsOf(response);
    // Events have no status for it.
    const stopped = response.status === "cancelled" || response.error?.code === "run_cancelled";
    this.problem.value = stopped ? null : problemIn(response);
    this.status.value = stopped ? "cancelled" : response.status;
  }

  private begun(response: ResponseObject): void {
    this.responseId.value = response.id;
    if (response.conversation != null) this.conversationId.value = response.conversation.id;
    // The clocks of two machines differ.
    this.startedAt.value ??= Math.min(response.created_at, this.options.now());
    if (!ENDED.has(response.status)) this.status.value = response.status;
  }

  // -- items ---------------------------------------------------------------------------------------------------

  private item(item: OutputItem, index: number, done: boolean): void {
    switch (item.type) {
      case "message":
        this.message(item as MessageItem, index, done);
        return;
      case "reasoning":
        this.reasoning(item as ReasoningItem, index, done);
        return;
      case "mcp_call":
        this.call(item as McpCallItem & { status?: string }, index, done);
        return;
      case "function_call":
        this.functionCall(item as unknown as Record<string, unknown>, index);
        return;
      case "function_call_output":
        this.functionOutput(item as unknown as Record<string, unknown>, index);
        return;
      case "mcp_approval_request": {
        const slot = this.slots.open(keyOf(item, index));
        if (slot.parts.length === 0) {
          const request = item as ApprovalRequestItem;
          this.slots.add(slot, new ApprovalState(request, this.options.decided(request.id)));
        }
        return;
      }
    }
  }

  private message(item: MessageItem, index: number, done: boolean): void {
    const id = keyOf(item, index);
    const slot = this.slots.open(id);
    const content = typeof item.content === "string" ? [{ type: "text", text: item.content }] : item.content;
    for (const [place, part] of content.entries()) {
      const refusal = "refusal" in part && typeof part.refusal === "string";
      const text = refusal ? part.refusal : "text" in part ? part.text : null;
      if (typeof text !== "string") continue;
      const annotations = "annotations" in part ? (part.annotations ?? []) : [];
      this.text(slot, place, refusal).settle(text, annotations);
    }
    for (const part of slot.parts) {
      if (!(part instanceof TextState)) continue;
      if (item.phase != null) part.phase.value = item.phase;
      if (done) part.streaming.value = false;
    }
  }

  private text(slot: Slot, place: number, refusal: boolean): TextState {
    const id = `${slot.id}:${place}`;
    const found = slot.parts.find((part) => part.id === id);
    if (found instanceof TextState) return found;
    const made = new TextState(id, refusal, this.passages);
    this.slots.add(slot, made);
    return made;
  }

  private reasoning(item: ReasoningItem, index: number, done: boolean): void {
    const slot = this.slots.open(keyOf(item, index));
    let part = slot.parts[0];
    if (part === undefined) {
      part = new ReasoningState(slot.id, this.liveNow());
      this.slots.add(slot, part);
    }
    if (!(part instanceof ReasoningState)) return;
    const text = (item.summary ?? []).map((one) => one.text).join("\n\n");
    if (done && text !== part.text.peek()) part.text.value = text;
    if (done && part.streaming.peek()) {
      part.streaming.value = false;
      part.seconds.value = this.since(part.began);
    }
  }

  private call(item: McpCallItem & { status?: string }, index: number, done: boolean): void {
    const part = this.tool(keyOf(item, index), item.name);
    if (item.arguments !== "" || done) part.arguments.value = item.arguments;
    part.output.value = item.output ?? null;
    part.error.value = item.error ?? null;
    if (done) this.endCall(part, item.error != null || item.status === "failed" ? "failed" : "completed");
  }

  /** A call in the form of the other addresses, where its result is an item of its own. */
  private functionCall(item: Record<string, unknown>, index: number): void {
    const key = textOf(item.call_id) ?? `#${index}`;
    const part = this.tool(key, textOf(item.name) ?? "");
    const text = textOf(item.arguments) ?? "";
    if (text !== "") part.arguments.value = text;
    const id = textOf(item.id);
    const slot = this.slots.get(key);
    if (id !== null && slot !== undefined) this.slots.alias(id, slot);
  }

  private functionOutput(item: Record<string, unknown>, index: number): void {
    const part = this.tool(textOf(item.call_id) ?? `#${index}`, "");
    part.output.value = typeof item.output === "string" ? item.output : JSON.stringify(item.output ?? null);
    this.endCall(part, "completed");
  }

  private tool(id: string, name: string): ToolState {
    const slot = this.slots.open(id);
    const found = slot.parts[0];
    if (found instanceof ToolState) return found;
    const made = new ToolState(id, name, this.liveNow());
    this.slots.add(slot, made);
    return made;
  }

  private endCall(part: ToolState, status: "completed" | "failed"): void {
    if (part.status.peek() === "in_progress") part.seconds.value = this.since(part.began);
    part.status.value = status;
  }

  // -- pieces of items -----------------------------------------------------------------------------------------

  private piece(event: StreamEvent): void {
    const slot = this.slots.get(String(event.item_id));
    if (slot === undefined) return;
    const place = typeof event.content_index === "number" ? event.content_index : 0;
    const delta = textOf(event.delta) ?? "";
    switch (event.type) {
      case "response.content_part.added":
      case "response.content_part.done": {
        const part = event.part as {
          type?: string;
          text?: string;
          refusal?: string;
          annotations?: UrlCitation[];
        };
        const refusal = part?.type === "refusal";
        const text = refusal ? part.refusal : part?.text;
        if (typeof text !== "string") return;
        this.text(slot, place, refusal).settle(text, refusal ? null : (part.annotations ?? []));
        return;
      }
      case "response.output_text.delta":
      case "response.refusal.delta": {
        const part = this.text(slot, place, event.type === "response.refusal.delta");
        part.text.value = part.text.peek() + delta;
        return;
      }
      case "response.output_text.done":
      case "response.refusal.done": {
        const refusal = event.type === "response.refusal.done";
        const text = textOf(refusal ? event.refusal : event.text);
        if (text !== null) this.text(slot, place, refusal).settle(text, null);
        return;
      }
      case "response.output_text.annotation.added": {
        const part = this.text(slot, place, false);
        part.annotations.value = [...part.annotations.peek(), event.annotation as UrlCitation];
        return;
      }
      case "response.reasoning_summary_part.added":
      case "response.reasoning_summary_text.delta": {
        const part = slot.parts[0];
        if (!(part instanceof ReasoningState)) return;
        const begins =
          event.type === "response.reasoning_summary_part.added" && Number(event.summary_index) > 0;
        part.text.value = part.text.peek() + (begins ? "\n\n" : delta);
        return;
      }
      case "response.mcp_call_arguments.delta":
      case "response.function_call_arguments.delta": {
        const part = slot.parts[0];
        if (part instanceof ToolState) part.arguments.value = part.arguments.peek() + delta;
        return;
      }
      case "response.mcp_call_arguments.done":
      case "response.function_call_arguments.done": {
        const part = slot.parts[0];
        if (part instanceof ToolState)
          part.arguments.value = textOf(event.arguments) ?? part.arguments.peek();
        return;
      }
    }
  }

  // -- steps ---------------------------------------------------------------------------------------------------

  private step(step: NodeStep): void {
    const slot = this.slots.open(step.id);
    const part = slot.parts[0];
    if (part instanceof StepState) {
      part.step.value = plain(step);
    } else {
      this.slots.add(slot, new StepState(plain(step)));
    }
  }

  private found(event: StreamEvent): void {
    const documents = Array.isArray(event.documents) ? (event.documents as FoundDocument[]) : [];
    const known = this.documents.peek();
    this.documents.value = [...known, ...documents].slice(0, MOST_DOCUMENTS);
    if (known.length >= MOST_DOCUMENTS) return;
    const part = this.slots.get(String(event.node_id))?.parts[0];
    if (part instanceof StepState) {
      part.documents.value = [...part.documents.peek(), { query: textOf(event.query) ?? "", documents }];
    }
  }

  // -- the end ------------------------------------------------------------------------------------------------

  /** Nothing goes on after the end of a run. */
  private settleOpen(): void {
    for (const part of this.slots.parts.peek()) {
      if (part instanceof TextState || part instanceof ReasoningState) part.streaming.value = false;
      if (part instanceof ToolState && part.status.peek() === "in_progress") part.status.value = "completed";
      if (part instanceof StepState && part.step.peek().status === "in_progress") {
        part.step.value = { ...part.step.peek(), status: "interrupted" };
      }
    }
  }

  private liveNow(): number | null {
    return this.live ? this.options.now() : null;
  }

  private since(began: number | null): number | null {
    return began === null || !this.live ? null : Math.max(0, this.options.now() - began);
  }
}

function keyOf(item: OutputItem, index: number): string {
  // The call and its result are one thing for readers.
  const call = item as unknown as Record<string, unknown>;
  if (item.type === "function_call" || item.type === "function_call_output")
    return textOf(call.call_id) ?? `#${index}`;
  return item.id ?? `#${index}`;
}

function plain(step: NodeStep): NodeStep {
  const { id, name, path, status, started_at, seconds } = step;
  return { id, name, path: path ?? [name], status, started_at, seconds: seconds ?? null };
}

function textOf(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

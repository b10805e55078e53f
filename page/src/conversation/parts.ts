/** The parts of an answer while they grow. */

import { computed, type ReadonlySignal, signal } from "@preact/signals";
import type {
  ApprovalRequestItem,
  ApprovalResponseItem,
  Decision,
  FoundDocument,
  NodeStep,
  UrlCitation,
} from "../api/wire";
import { citationsIn, type Passage } from "./citations";
import type { ApprovalPart, ReasoningPart, StepPart, TextPart, ToolPart } from "./model";

export const EVERY_DECISION: readonly Decision[] = ["approve", "edit", "reject", "respond"];
export const OF_QUESTIONS: readonly Decision[] = ["approve", "reject", "respond"];

export class TextState implements TextPart {
  readonly kind = "text";
  readonly text = signal("");
  readonly phase = signal<"final_answer" | "commentary" | null>(null);
  readonly streaming = signal(true);
  readonly annotations = signal<readonly UrlCitation[]>([]);
  readonly citations: TextPart["citations"];

  constructor(
    readonly id: string,
    readonly refusal: boolean,
    passages: ReadonlySignal<readonly Passage[]>,
  ) {
    // The text is not a dependency: it changes with every piece, and citations arrive when it is complete.
    this.citations = computed(() => {
      const annotations = this.annotations.value;
      return annotations.length === 0 ? [] : citationsIn(this.text.peek(), annotations, passages.value);
    });
  }

  /** The whole text, which may differ from its pieces, and its citations. */
  settle(text: string, annotations: readonly UrlCitation[] | null): void {
    const changed = this.text.peek() !== text;
    if (changed) this.text.value = text;
    if (annotations !== null && !(annotations.length === 0 && this.annotations.peek().length === 0)) {
      this.annotations.value = [...annotations];
    } else if (changed && this.annotations.peek().length > 0) {
      this.annotations.value = [...this.annotations.peek()];
    }
  }
}

export class ReasoningState implements ReasoningPart {
  readonly kind = "reasoning";
  readonly text = signal("");
  readonly streaming = signal(true);
  readonly seconds = signal<number | null>(null);

  constructor(
    readonly id: string,
    readonly began: number | null,
  ) {}
}

export class ToolState implements ToolPart {
  readonly kind = "tool";
  readonly arguments = signal("");
  readonly output = signal<string | null>(null);
  readonly error = signal<string | null>(null);
  readonly status = signal<"in_progress" | "completed" | "failed">("in_progress");
  readonly seconds = signal<number | null>(null);

  constructor(
    readonly id: string,
    readonly name: string,
    readonly began: number | null,
  ) {}
}

export class ApprovalState implements ApprovalPart {
  readonly kind = "approval";
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
  readonly question: boolean;
  readonly schema: Record<string, unknown> | null;
  readonly decisions: readonly Decision[];

  constructor(
    item: ApprovalRequestItem,
    readonly decided: ReadonlySignal<ApprovalResponseItem | null>,
  ) {
    this.id = item.id;
    this.name = item.name;
    this.arguments = item.arguments;
    this.question = item.name === "question";
    this.schema = item.input_schema ?? null;
    this.decisions = item.allowed_decisions ?? (this.question ? OF_QUESTIONS : EVERY_DECISION);
  }
}

export class StepState implements StepPart {
  readonly kind = "step";
  readonly id: string;
  readonly step;
  readonly documents = signal<readonly { query: string; documents: readonly FoundDocument[] }[]>([]);

  constructor(step: NodeStep) {
    this.id = step.id;
    this.step = signal(step);
  }
}

export type PartState = TextState | ReasoningState | ToolState | ApprovalState | StepState;

/** A message of the user with its answer, and how it is read from the service. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { ApprovalResponseItem } from "../api/wire";
import type { AnswerState } from "./answer";
import type { Turn } from "./model";

/** An item of a request. */
export type InputItem = { type: string } & Record<string, unknown>;

interface Content {
  type: string;
  text?: string;
}

export class TurnState implements Turn {
  readonly branches = signal({ index: 0, count: 1 });
  readonly feedback = signal<boolean | null>(null);
  readonly text: string;

  constructor(
    readonly key: string,
    readonly responseId: ReadonlySignal<string | null>,
    /** What was sent, as it can be sent again. */
    readonly input: readonly InputItem[],
    readonly model: string,
    readonly createdAt: number,
    readonly answer: AnswerState,
  ) {
    this.text = saidIn(input);
  }

  /** What was sent, with another text. Images and files stay. */
  withText(text: string): InputItem[] {
    const last = this.input.findLast((item) => item.type === "message" && item.role === "user");
    const kept = contentOf(last).filter((part) => !isText(part));
    return [message([{ type: "input_text", text }, ...kept])];
  }
}

export function userMessage(text: string): InputItem {
  return message([{ type: "input_text", text }]);
}

function message(content: readonly Content[]): InputItem {
  return { type: "message", role: "user", content };
}

/** What a person has written in these items. */
function saidIn(items: readonly InputItem[]): string {
  return items
    .filter((item) => item.type === "message" && item.role === "user")
    .map((item) =>
      contentOf(item)
        .filter(isText)
        .map((part) => part.text ?? "")
        .join("\n"),
    )
    .filter((text) => text !== "")
    .join("\n\n");
}

/** The decisions among these items. */
export function decisionsIn(items: readonly InputItem[]): ApprovalResponseItem[] {
  return items.filter((item) => item.type === "mcp_approval_response") as unknown as ApprovalResponseItem[];
}

/** Stored items, as they can be sent again: with an id, the service would take them for known ones. */
export function asSent(items: readonly InputItem[]): InputItem[] {
  return items.map(({ id: _id, status: _status, ...item }) => item as InputItem);
}

function contentOf(item: InputItem | undefined): Content[] {
  if (typeof item?.content === "string") return [{ type: "input_text", text: item.content }];
  return Array.isArray(item?.content) ? (item.content as Content[]) : [];
}

function isText(part: Content): boolean {
  return part.type === "input_text" || part.type === "text" || part.type === "output_text";
}

/** A message of the user with its answer, and how it is read from the service. */

import { type ReadonlySignal, signal } from "@preact/signals";
import type { ApprovalResponseItem } from "../api/wire";
import type { AnswerState } from "./answer";
import { attachmentOf, type Content, partOf } from "./attachments";
import type { Attachment, Turn } from "./model";

/** An item of a request. */
export type InputItem = { type: string } & Record<string, unknown>;

export class TurnState implements Turn {
  readonly branches = signal({ index: 0, count: 1 });
  readonly feedback = signal<boolean | null>(null);
  readonly traceUrl = signal<string | null>(null);
  readonly text: string;
  readonly attachments: readonly Attachment[];
  /** The parts as they were sent: other clients may have said more about them. */
  private readonly parts = new Map<Attachment, Content>();

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
    for (const [attachment, part] of attached(input)) this.parts.set(attachment, part);
    this.attachments = [...this.parts.keys()];
  }

  /** What was sent, with another text, and with these images and files. What the page does not show stays. */
  changed(text: string, attachments: readonly Attachment[]): InputItem[] {
    const last = this.input.findLast(isSaid);
    const shown = new Set(this.parts.values());
    const kept = contentOf(last).filter((part) => !isText(part) && !shown.has(part));
    return [
      message([...said(text), ...attachments.map((one) => this.parts.get(one) ?? partOf(one)), ...kept]),
    ];
  }
}

export function userMessage(text: string, attachments: readonly Attachment[] = []): InputItem {
  return message([...said(text), ...attachments.map(partOf)]);
}

function said(text: string): Content[] {
  return text === "" ? [] : [{ type: "input_text", text }];
}

function message(content: readonly Content[]): InputItem {
  return { type: "message", role: "user", content };
}

/** What a person has written in these items. */
export function saidIn(items: readonly InputItem[]): string {
  return items
    .filter(isSaid)
    .map((item) =>
      contentOf(item)
        .filter(isText)
        .map((part) => part.text ?? "")
        .join("\n"),
    )
    .filter((text) => text !== "")
    .join("\n\n");
}

/** The images and files that a person has sent in these items. */
export function attachmentsIn(items: readonly InputItem[]): Attachment[] {
  return attached(items).map(([attachment]) => attachment);
}

function attached(items: readonly InputItem[]): [Attachment, Content][] {
  return items
    .filter(isSaid)
    .flatMap(contentOf)
    .flatMap((part) => {
      const attachment = attachmentOf(part);
      return attachment === null ? [] : [[attachment, part]];
    });
}

/** The decisions among these items. */
export function decisionsIn(items: readonly InputItem[]): ApprovalResponseItem[] {
  return items.filter((item) => item.type === "mcp_approval_response") as unknown as ApprovalResponseItem[];
}

/** Stored items, as they can be sent again: with an id, the service would take them for known ones. */
export function asSent(items: readonly InputItem[]): InputItem[] {
  return items.map(({ id: _id, status: _status, ...item }) => item as InputItem);
}

function isSaid(item: InputItem): boolean {
  return item.type === "message" && item.role === "user";
}

function contentOf(item: InputItem | undefined): Content[] {
  if (typeof item?.content === "string") return [{ type: "input_text", text: item.content }];
  return Array.isArray(item?.content) ? (item.content as Content[]) : [];
}

function isText(part: Content): boolean {
  return part.type === "input_text" || part.type === "text" || part.type === "output_text";
}

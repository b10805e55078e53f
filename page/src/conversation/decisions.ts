/** What was decided about the approvals of a conversation. */

import { type Signal, signal } from "@preact/signals";
import type { ApprovalResponseItem } from "../api/wire";
import type { TurnState } from "./turn";

export class Decisions {
  private readonly known = new Map<string, Signal<ApprovalResponseItem | null>>();

  /** What was decided about an approval; `null` while it waits. */
  of(approvalId: string): Signal<ApprovalResponseItem | null> {
    const known = this.known.get(approvalId);
    if (known !== undefined) return known;
    const made = signal<ApprovalResponseItem | null>(null);
    this.known.set(approvalId, made);
    return made;
  }

  note(decisions: readonly ApprovalResponseItem[]): void {
    for (const decision of decisions) this.of(decision.approval_request_id).value = decision;
  }

  /** A question that is asked again is shown where it waits. One that was passed over was rejected. */
  place(turns: readonly TurnState[]): void {
    const later = new Set<string>();
    for (const turn of [...turns].reverse()) {
      const asked = turn.answer.approvals.value;
      const again = new Set([...asked].filter((id) => later.has(id)));
      if (again.size !== turn.answer.askedAgain.peek().size) turn.answer.askedAgain.value = again;
      const follower = turns[turns.indexOf(turn) + 1];
      const passed = follower?.answer.isOver.value === true;
      for (const id of asked) {
        const decided = this.of(id);
        if (passed && !later.has(id) && decided.peek() === null) {
          decided.value = { type: "mcp_approval_response", approval_request_id: id, approve: false };
        }
        later.add(id);
      }
    }
  }
}

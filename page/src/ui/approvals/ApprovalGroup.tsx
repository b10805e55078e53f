import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { ApprovalResponseItem } from "../../api/wire";
import type { ApprovalPart, Turn } from "../../conversation/model";
import { usePage } from "../context";
import { failureWords } from "../failures";
import { focusConversation } from "../focus";
import { ApprovalCard } from "./ApprovalCard";

interface Props {
  turn: Turn;
  approvals: readonly ApprovalPart[];
  /** Whether the turn is the newest one, whose approvals can be decided. */
  open: boolean;
}

/** What the graph asks. A single decision is sent at once; several are decided one by one and sent together. */
export function ApprovalGroup({ turn, approvals, open }: Props) {
  const { chat, announce, decisions: kept } = usePage();
  const drafts = useSignal(kept.read(turn.responseId.peek()));
  const sending = useSignal(false);
  const failure = useSignal<string | null>(null);
  const waiting = approvals.filter((approval) => approval.decided.value === null);
  const usable = open && !sending.value && !chat.open.value.busy.value;
  const several = waiting.length > 1;
  const group = useRef<HTMLDivElement>(null);
  /** Whose buttons get the focus, because those that had it are gone: this one, or the next one that waits. */
  const goOn = useRef<ApprovalPart | "next" | null>(null);

  useEffect(() => {
    const to = goOn.current;
    goOn.current = null;
    if (to === null || group.current === null) return;
    const cards = [...group.current.querySelectorAll(":scope > .approval")];
    const card =
      to === "next"
        ? cards.find((card) => card.classList.contains("waiting"))
        : cards[approvals.findIndex((approval) => approval.id === to.id)];
    (card ?? group.current.querySelector(":scope > .buttons"))?.querySelector("button")?.focus();
  }, [drafts.value]);

  const send = async (decisions: readonly ApprovalResponseItem[]) => {
    if (sending.value) return;
    sending.value = true;
    failure.value = null;
    try {
      await chat.open.value.decide(turn, decisions);
      kept.write(turn.responseId.peek(), new Map());
      focusConversation();
      announce(decisions.length === 1 ? "Decision sent." : "Decisions sent.");
    } catch (error) {
      failure.value = `The decision was not sent. ${failureWords(error, "Check your connection and try again.")}`;
    } finally {
      sending.value = false;
    }
  };
  const decide = (approval: ApprovalPart, decision: ApprovalResponseItem | null) => {
    const next = new Map(drafts.value);
    if (decision === null) next.delete(approval.id);
    else next.set(approval.id, decision);
    drafts.value = next;
    kept.write(turn.responseId.peek(), next);
    if (decision !== null && !several) void send([decision]);
    else goOn.current = decision === null ? approval : "next";
  };
  const decided = waiting.flatMap((approval) => drafts.value.get(approval.id) ?? []);
  const approveAll = () => {
    const all = waiting.map(
      (approval): ApprovalResponseItem =>
        drafts.value.get(approval.id) ?? {
          type: "mcp_approval_response",
          approval_request_id: approval.id,
          approve: true,
        },
    );
    drafts.value = new Map(all.map((decision) => [decision.approval_request_id, decision]));
    void send(all);
  };
  const canApproveAll = waiting.every(
    (approval) =>
      !approval.question && (approval.decisions.length === 0 || approval.decisions.includes("approve")),
  );

  return (
    <div class="approvals" ref={group}>
      {approvals.map((approval) => (
        <ApprovalCard
          key={approval.id}
          approval={approval}
          decision={approval.decided.value ?? drafts.value.get(approval.id) ?? null}
          sent={approval.decided.value !== null}
          open={usable}
          lapsed={!open}
          onDecide={(decision) => decide(approval, decision)}
        />
      ))}
      {usable && (several || decided.length > 0) && (
        <div class="buttons">
          <button
            type="button"
            class="button primary"
            disabled={decided.length < waiting.length}
            onClick={() => void send(decided)}
          >
            Send decisions ({decided.length} of {waiting.length})
          </button>
          {canApproveAll && decided.length < waiting.length && (
            <button type="button" class="button" onClick={approveAll}>
              {decided.length === 0 ? "Approve all" : "Approve the rest"}
            </button>
          )}
        </div>
      )}
      {failure.value !== null && (
        <p class="form-error" role="alert">
          {failure.value}
        </p>
      )}
    </div>
  );
}

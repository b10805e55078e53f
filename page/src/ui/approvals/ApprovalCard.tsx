import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import type { ApprovalResponseItem, Decision } from "../../api/wire";
import type { ApprovalPart } from "../../conversation/model";
import { summaryOf } from "../answer/payloads";
import { CloseIcon, DoneIcon, EditIcon, ForwardIcon, QuestionIcon, ToolIcon } from "../Icons";
import { ArgumentsTable } from "./ArgumentsTable";
import { questionOf } from "./argumentsText";
import { EditForm } from "./EditForm";
import { TextForm } from "./TextForm";

type Mode = "choose" | "edit" | "reject" | "respond";

interface Props {
  approval: ApprovalPart;
  /** What was decided and sent, or is decided and waits for the others. */
  decision: ApprovalResponseItem | null;
  sent: boolean;
  /** Whether it can be decided now. */
  open: boolean;
  /** Whether the conversation went on without a decision. */
  lapsed: boolean;
  onDecide: (decision: ApprovalResponseItem | null) => void;
}

export function ApprovalCard({ approval, decision, sent, open, lapsed, onDecide }: Props) {
  const mode = useSignal<Mode>("choose");
  const heading = useId();
  const buttons = useRef<HTMLDivElement>(null);
  const returning = useRef(false);
  const { name, question } = approval;
  const asked = question ? questionOf(approval.arguments) : null;
  const fields = asked === null ? approval.arguments : asked.fields;

  useEffect(() => {
    if (mode.value === "choose" && returning.current) buttons.current?.querySelector("button")?.focus();
    returning.current = true;
  }, [mode.value]);

  const choose = (to: Mode) => () => {
    mode.value = to;
  };
  const decide = (fields: Partial<ApprovalResponseItem> & { approve: boolean }) => {
    mode.value = "choose";
    onDecide({ type: "mcp_approval_response", approval_request_id: approval.id, ...fields });
  };

  if (decision !== null && sent) {
    return (
      <SentDecision
        decision={decision}
        question={question}
        about={asked?.words ?? name}
        detail={fields === null ? "" : summaryOf(changed(decision) ?? fields)}
      >
        {fields !== null && <ArgumentsTable name={name} text={changed(decision) ?? fields} />}
      </SentDecision>
    );
  }

  const waiting = open && decision === null;
  return (
    // Not a region: several cards of one tool would be landmarks of one name.
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms.
    <div class={waiting ? "approval waiting" : "approval"} role="group" aria-labelledby={heading}>
      <h3 id={heading}>
        {question ? <QuestionIcon /> : <ToolIcon />}
        {asked !== null ? (
          <span dir="auto">{asked.words ?? "The assistant asks you"}</span>
        ) : (
          <span>
            {decision === null ? "Allow" : "Call of"} <code>{name}</code>
            {decision === null && "?"}
          </span>
        )}
      </h3>
      {fields !== null && mode.value !== "edit" && (
        <ArgumentsTable name={name} text={changed(decision) ?? fields} />
      )}
      {decision !== null && <Decided decision={decision} question={question} />}
      {decision !== null && !sent && open && (
        <div class="buttons">
          <button type="button" class="button" onClick={() => onDecide(null)}>
            Change
          </button>
        </div>
      )}
      {decision === null && lapsed && <p class="muted">This was not decided.</p>}
      {waiting && mode.value === "choose" && (
        <div class="buttons" ref={buttons}>
          {offers(approval).map((offer) =>
            offer === "approve" ? (
              <button
                key={offer}
                type="button"
                class="button primary"
                onClick={() => decide({ approve: true })}
              >
                {question ? "Yes" : "Approve"}
              </button>
            ) : (
              <button
                key={offer}
                type="button"
                class="button"
                onClick={question && offer === "reject" ? () => decide({ approve: false }) : choose(offer)}
              >
                {WORDS[offer][question ? 1 : 0]}
              </button>
            ),
          )}
        </div>
      )}
      {waiting && mode.value === "edit" && (
        <EditForm
          name={name}
          schema={approval.schema}
          text={approval.arguments}
          onCancel={choose("choose")}
          onDone={(values) => decide({ approve: true, arguments: values })}
        />
      )}
      {waiting && mode.value === "reject" && (
        <TextForm
          label="Reason (optional)"
          help="The assistant reads it and goes on without this call."
          required={false}
          submit="Reject"
          onCancel={choose("choose")}
          onDone={(reason) => decide({ approve: false, ...(reason === "" ? {} : { reason }) })}
        />
      )}
      {waiting && mode.value === "respond" && (
        <TextForm
          label={question ? "Your answer" : "Result to use in place of the call"}
          required
          submit="Answer"
          onCancel={choose("choose")}
          onDone={(output) => decide({ approve: true, output })}
        />
      )}
    </div>
  );
}

const WORDS: Record<Exclude<Decision, "approve">, readonly [string, string]> = {
  edit: ["Edit", "Edit"],
  reject: ["Reject", "No"],
  respond: ["Answer myself", "Answer"],
};

/** The decisions that the graph accepts, in the order of their buttons. */
function offers({ decisions, question }: ApprovalPart): Decision[] {
  const all: Decision[] = question ? ["respond", "approve", "reject"] : ["approve", "edit", "reject"];
  const order: Decision[] = question ? all : ["approve", "edit", "reject", "respond"];
  return decisions.length === 0 ? all : order.filter((decision) => decisions.includes(decision));
}

function changed(decision: ApprovalResponseItem | null): string | null {
  return decision?.arguments === undefined ? null : JSON.stringify(decision.arguments);
}

function Decided({ decision, question }: { decision: ApprovalResponseItem; question: boolean }) {
  const said = decision.output ?? decision.reason;
  return (
    <div>
      <p class="decided">
        <DecisionIcon decision={decision} />
        {wordsOf(decision, question)}
      </p>
      {said !== undefined && <p dir="auto">{said}</p>}
    </div>
  );
}

interface SentProps {
  decision: ApprovalResponseItem;
  question: boolean;
  /** The tool, or what was asked. */
  about: string;
  /** What tells one call of a tool from the others. */
  detail: string;
  children: ComponentChildren;
}

/** A decision that the service has. It is one line that can be opened. */
function SentDecision({ decision, question, about, detail, children }: SentProps) {
  const said = decision.output ?? decision.reason;
  return (
    <details class="approval sent">
      <summary>
        <DecisionIcon decision={decision} />
        <span class="muted" dir="auto">
          {about}
        </span>
        {detail !== "" && (
          <span class="call-detail muted" dir="auto">
            {detail}
          </span>
        )}
        <span class="decided">{wordsOf(decision, question)}</span>
        {said !== undefined && (
          <span class="line-detail" dir="auto">
            {said}
          </span>
        )}
        <span class="chevron">
          <ForwardIcon />
        </span>
      </summary>
      {children}
    </details>
  );
}

function DecisionIcon({ decision }: { decision: ApprovalResponseItem }) {
  if (decision.arguments !== undefined) return <EditIcon />;
  return decision.approve ? <DoneIcon /> : <CloseIcon />;
}

function wordsOf({ approve, output, reason, ...decision }: ApprovalResponseItem, question: boolean): string {
  if (output !== undefined) return "You answered:";
  if (!approve)
    return question ? "You said no." : reason ? "You rejected this and said:" : "You rejected this.";
  if (decision.arguments !== undefined) return "You approved this with changes.";
  return question ? "You said yes." : "You approved this.";
}

import type { Turn } from "../../conversation/model";
import { ApprovalGroup } from "../approvals/ApprovalGroup";
import { Activity } from "./Activity";
import { AnswerText } from "./AnswerText";
import { isRunning } from "./running";
import { Sources } from "./Sources";
import { StatusLine } from "./StatusLine";
import { layoutOf } from "./segments";
import { Worked } from "./Worked";

interface Props {
  turn: Turn;
  /** Whether the turn is the newest one, whose approvals can be decided. */
  newest: boolean;
  /** Whether another answer is being written. */
  busy: boolean;
  /** The reader looks at how the answer came to be. */
  onLook: () => void;
  onRetry: () => void;
}

export function AnswerView({ turn, newest, busy, onLook, onRetry }: Props) {
  const { answer } = turn;
  const { worked, shown, approvals, steps } = layoutOf(answer.parts.value, !isRunning(answer));
  return (
    <div class="answer">
      {worked.length > 0 && (
        <Worked key="worked" segments={worked} steps={steps} seconds={answer.seconds.value} onLook={onLook} />
      )}
      {shown.map((segment) =>
        segment.kind === "text" ? (
          <AnswerText key={segment.id} part={segment} />
        ) : (
          <Activity key={segment.key} parts={segment.parts} />
        ),
      )}
      <StatusLine key="status" answer={answer} busy={busy} onRetry={onRetry} />
      {approvals.length > 0 && (
        <ApprovalGroup key="approvals" turn={turn} approvals={approvals} open={newest} />
      )}
      <Sources key="sources" sources={answer.sources.value} />
    </div>
  );
}

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
  onRetry: () => void;
}

export function AnswerView({ turn, newest, onRetry }: Props) {
  const { answer } = turn;
  const { worked, shown, approvals, steps } = layoutOf(answer.parts.value, !isRunning(answer));
  return (
    <div class="answer">
      {worked.length > 0 && (
        <Worked key="worked" segments={worked} steps={steps} seconds={answer.seconds.value} />
      )}
      {shown.map((segment) =>
        segment.kind === "text" ? (
          <AnswerText key={segment.id} part={segment} />
        ) : (
          <Activity key={segment.key} parts={segment.parts} />
        ),
      )}
      <StatusLine key="status" answer={answer} onRetry={onRetry} />
      {approvals.length > 0 && (
        <ApprovalGroup key="approvals" turn={turn} approvals={approvals} open={newest} />
      )}
      <Sources key="sources" sources={answer.sources.value} />
    </div>
  );
}

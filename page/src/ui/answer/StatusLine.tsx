import type { Answer } from "../../conversation/model";
import { now } from "../clock";
import { WarningIcon } from "../Icons";

interface Props {
  answer: Answer;
  /** Whether another answer is being written. */
  busy: boolean;
  onRetry: () => void;
}

/** What the reader must know about the state of an answer: that it begins, stopped, failed, or is joined again. */
export function StatusLine({ answer, busy, onRetry }: Props) {
  const status = answer.status.value;
  const problem = answer.problem.value;
  return (
    <>
      {answer.warnings.value.map((warning) => (
        <div key={warning} class="notice">
          <WarningIcon />
          <p class="notice-words" dir="auto">
            {warning}
          </p>
        </div>
      ))}
      {problem !== null && (
        <div class="notice problem" role="alert">
          <WarningIcon />
          <div class="notice-words" dir="auto">
            <p>{problem.message}</p>
            {problem.detail && <p class="detail muted">{problem.detail}</p>}
          </div>
          {problem.retryable && (
            <button type="button" class="button" disabled={busy} onClick={onRetry}>
              Try again
            </button>
          )}
        </div>
      )}
      {problem === null && status === "cancelled" && <p class="muted">This answer was stopped.</p>}
      {problem === null && status === "incomplete" && (
        <p class="muted">
          {answer.goesOn.value ? "The next answer goes on from here." : "This answer is not complete."}
        </p>
      )}
      {status === "lost" && <Waiting words="The connection is lost. Joining the answer again …" />}
      {status === "queued" && <Waiting words="Waiting for a free place …" />}
      {(status === "sending" || status === "in_progress") && <Writing answer={answer} />}
    </>
  );
}

function Waiting({ words }: { words: string }) {
  return (
    <p class="cursor-line">
      <span class="spinner" />
      {words}
    </p>
  );
}

/** Stands below an answer for as long as it is written, so that nothing jumps. It spins only if no line above does. */
function Writing({ answer }: { answer: Answer }) {
  const moves = answer.parts.value.some(
    (part) =>
      (part.kind === "text" && part.streaming.value) ||
      (part.kind === "reasoning" && part.streaming.value) ||
      (part.kind === "tool" && part.status.value === "in_progress") ||
      (part.kind === "step" && part.step.value.status === "in_progress"),
  );
  return (
    <p class="cursor-line">
      {!moves && <span class="spinner" />}
      Working … {elapsed(answer.startedAt.value)}
    </p>
  );
}

function elapsed(startedAt: number | null): string {
  const seconds = startedAt === null ? 0 : Math.floor(now.value - startedAt);
  return seconds < 2 ? "" : `${seconds} s`;
}

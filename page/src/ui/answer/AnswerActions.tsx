import type { ComponentChildren } from "preact";
import type { Turn } from "../../conversation/model";
import { CopyButton } from "../CopyButton";
import { formatSeconds } from "../durations";
import { IconButton } from "../IconButton";
import { RetryIcon, TraceIcon } from "../Icons";
import { isRunning } from "./running";
import { webAddress } from "./Sources";

/** The text of an answer as its author wrote it: Markdown, without what was said on the way. */
export function answerText(turn: Turn): string {
  return turn.answer.parts.value
    .flatMap((part) => (part.kind === "text" && part.phase.value !== "commentary" ? [part.text.value] : []))
    .join("\n\n");
}

interface Props {
  turn: Turn;
  busy: boolean;
  onRegenerate: () => void;
  children?: ComponentChildren;
}

export function AnswerActions({ turn, busy, onRegenerate, children }: Props) {
  const { answer } = turn;
  if (isRunning(answer)) return null;
  const text = answerText(turn);
  const tokens = answer.totalTokens.value;
  const seconds = answer.seconds.value;
  const trace = webAddress(turn.traceUrl.value);
  const cost = [
    seconds === null ? null : formatSeconds(seconds),
    tokens === null || tokens === 0
      ? null
      : tokens === 1
        ? "1 token"
        : `${tokens.toLocaleString("en")} tokens`,
  ].filter((words) => words !== null);
  return (
    <div class="actions">
      {text !== "" && <CopyButton label="Copy the answer" text={() => answerText(turn)} />}
      {(turn.text !== "" || turn.attachments.length > 0) && !answer.problem.value?.retryable && (
        <IconButton small label="Answer again" disabled={busy} onClick={onRegenerate}>
          <RetryIcon />
        </IconButton>
      )}
      {children}
      {trace !== null && (
        <a
          class="icon-button small"
          href={trace.href}
          target="_blank"
          rel="noopener noreferrer"
          aria-label="Open the trace"
          title="Open the trace"
        >
          <TraceIcon />
        </a>
      )}
      {cost.length > 0 && <span class="cost">{cost.join(" · ")}</span>}
    </div>
  );
}

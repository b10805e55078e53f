import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { now } from "../clock";
import { formatSeconds } from "../durations";
import { ForwardIcon } from "../Icons";

interface Props {
  icon: JSX.Element;
  name: string;
  detail?: string | undefined;
  status: "in_progress" | "completed" | "failed" | "interrupted";
  seconds: number | null;
  /** When it began, in seconds since 1970, if that is known. */
  startedAt?: number | undefined;
  /** What the line shows when it is opened. */
  children?: (() => ComponentChildren) | undefined;
}

/** One thing that the graph does, on one line. */
export function Line({ icon, name, detail, status, seconds, startedAt, children }: Props) {
  const opened = useSignal(false);
  const failed = status === "failed";
  const words = (
    <>
      <span class="line-icon">{status === "in_progress" ? <span class="spinner" /> : icon}</span>
      <span class="line-name">{name}</span>
      {detail !== undefined && detail !== "" && (
        <span class="line-detail" dir="auto">
          {detail}
        </span>
      )}
      {failed && <span>failed</span>}
      {status === "interrupted" && <span>stopped</span>}
      <Time status={status} seconds={seconds} startedAt={startedAt} />
    </>
  );
  if (children === undefined) {
    return <li class={failed ? "line failed" : "line"}>{words}</li>;
  }
  return (
    <li class={failed ? "failed" : undefined}>
      <details
        onToggle={(event) => {
          opened.value ||= event.currentTarget.open;
        }}
      >
        <summary>
          {words}
          <span class="chevron">
            <ForwardIcon />
          </span>
        </summary>
        {opened.value && <div class="inside">{children()}</div>}
      </details>
    </li>
  );
}

function Time({ status, seconds, startedAt }: Pick<Props, "status" | "seconds" | "startedAt">) {
  if (seconds !== null) return <span class="line-time">{formatSeconds(seconds)}</span>;
  if (status !== "in_progress" || startedAt === undefined) return null;
  const elapsed = now.value - startedAt;
  return elapsed < 1 ? null : <span class="line-time">{`${Math.floor(elapsed)} s`}</span>;
}

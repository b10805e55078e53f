import type { Answer } from "../../conversation/model";

const RUNNING: ReadonlySet<string> = new Set(["sending", "queued", "in_progress", "lost"]);

/** Whether more of the answer may come. */
export function isRunning(answer: Answer): boolean {
  return RUNNING.has(answer.status.value);
}

import type { Turn } from "../../conversation/model";
import { isRunning } from "../answer/running";

/** The newest turn that the service has got. One behind it is a message that was not sent. */
export function newestOf(turns: readonly Turn[]): Turn | undefined {
  return turns.findLast((turn) => turn.responseId.value !== null || isRunning(turn.answer)) ?? turns.at(-1);
}

/** Whether a turn waits for a decision of the reader. */
export function waitsIn(turn: Turn | undefined): boolean {
  if (turn === undefined || isRunning(turn.answer)) return false;
  return turn.answer.parts.value.some((part) => part.kind === "approval" && part.decided.value === null);
}

import { effect, type Signal } from "@preact/signals";
import type { Chat } from "../conversation/model";
import { isRunning } from "./answer/running";

const MOST_CHARACTERS = 3000;

/**
 * Tell the reader of a screen what happens to the newest answer: that it begins, stops, fails, asks, and its text when
 * it is whole. `textOf` gives the text of the answer of a turn as it is shown.
 */
export function announceAnswers(
  chat: Chat,
  announcement: Signal<string>,
  textOf: (turnKey: string) => string,
  soon: (work: () => void) => void = (work) => requestAnimationFrame(() => work()),
): () => void {
  let watched: string | null = null;
  return effect(() => {
    const turn = chat.open.value.turns.value.at(-1);
    if (turn === undefined) {
      watched = null;
      return;
    }
    const status = turn.answer.status.value;
    if (isRunning(turn.answer)) {
      if (status === "lost") announcement.value = "The connection is lost. Joining the answer again.";
      else if (watched !== turn.key) announcement.value = "The answer is being written.";
      watched = turn.key;
      return;
    }
    // An answer that was already whole when the conversation was opened is not news.
    if (watched !== turn.key) return;
    watched = null;
    if (turn.answer.problem.peek() !== null) return; // An alert says it.
    if (status === "cancelled") {
      announcement.value = "The answer was stopped.";
      return;
    }
    const asks = turn.answer.parts
      .peek()
      .some((part) => part.kind === "approval" && part.decided.peek() === null);
    soon(() => {
      const text = textOf(turn.key).trim();
      const words = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)} …` : text;
      announcement.value = `${asks ? "The assistant asks for your decision." : "Answer:"} ${words}`.trim();
    });
  });
}

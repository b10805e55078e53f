import { effect, type Signal } from "@preact/signals";
import type { Chat } from "../conversation/model";
import { answerText } from "./answer/AnswerActions";
import { isRunning } from "./answer/running";

const MOST_CHARACTERS = 3000;

/**
 * Tell a screen reader what happens to the newest answer: that it begins, stops, asks, and its text when it is whole.
 */
export function announceAnswers(chat: Chat, announcement: Signal<string>): () => void {
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
    const opening = asks ? "The assistant asks for your decision." : "Answer:";
    announcement.value = `${opening} ${spoken(answerText(turn))}`.trim();
  });
}

/** The words of Markdown without its marks, as far as they are worth hearing at once. */
function spoken(markdown: string): string {
  const begin = markdown.slice(0, MOST_CHARACTERS);
  const words = begin
    .replace(/\]\([^()\s]{0,2000}\)/g, "")
    .replace(/[*_`#>|[\]]/g, "")
    .replace(/\s+/g, " ")
    .trim();
  return begin.length < markdown.length ? `${words} …` : words;
}

import type { TextPart } from "../../conversation/model";
import { Markdown } from "../../markdown/Markdown";

export function AnswerText({ part }: { part: TextPart }) {
  const commentary = part.phase.value === "commentary";
  return (
    <div
      class={commentary ? "answer-text commentary" : "answer-text"}
      data-final={commentary ? undefined : ""}
    >
      <Markdown text={part.text} citations={part.citations} streaming={part.streaming} />
    </div>
  );
}

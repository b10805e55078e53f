/** What a reader sees of an answer, as plain values, for tests. Durations are left out. */

import type { Answer, Part } from "./model";

export function shownOf(answer: Answer) {
  return {
    status: answer.status.value,
    problem: answer.problem.value,
    sources: answer.sources.value,
    warnings: answer.warnings.value,
    totalTokens: answer.totalTokens.value,
    parts: answer.parts.value.map(shownPart),
  };
}

function shownPart(part: Part) {
  switch (part.kind) {
    case "text":
      return {
        kind: part.kind,
        id: part.id,
        text: part.text.value,
        citations: part.citations.value,
        phase: part.phase.value,
        refusal: part.refusal,
        streaming: part.streaming.value,
      };
    case "reasoning":
      return { kind: part.kind, id: part.id, text: part.text.value, streaming: part.streaming.value };
    case "tool":
      return {
        kind: part.kind,
        id: part.id,
        name: part.name,
        arguments: part.arguments.value,
        output: part.output.value,
        error: part.error.value,
        status: part.status.value,
      };
    case "approval":
      return {
        kind: part.kind,
        id: part.id,
        name: part.name,
        arguments: part.arguments,
        decided: part.decided.value,
      };
    case "step":
      return { kind: part.kind, id: part.id, step: part.step.value };
  }
}

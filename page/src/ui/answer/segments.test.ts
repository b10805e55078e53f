// @vitest-environment node
import { expect, test } from "vitest";
import { fakeApproval, fakeReasoning, fakeStep, fakeText, fakeTool } from "../testing/fakeChat";
import { layoutOf, type Segment } from "./segments";

const kinds = (segments: Segment[]) =>
  segments.map((segment) =>
    segment.kind === "text" ? segment.text.value : segment.parts.map((part) => part.kind).join("+"),
  );

const parts = () => [
  fakeStep({ name: "planner" }),
  fakeReasoning("hm"),
  fakeText("I look it up.", { phase: "commentary" }),
  fakeTool("search", {}, "found"),
  fakeText("The answer.", { phase: "final_answer" }),
  fakeApproval("send", {}),
];

test("while an answer is written, all stands in the order in which it began", () => {
  const { shown, worked, approvals } = layoutOf(parts(), false);
  expect(kinds(shown)).toEqual(["step+reasoning", "I look it up.", "tool", "The answer."]);
  expect([worked.length, approvals.length]).toEqual([0, 1]);
});

test("an answer that has ended shows its final text, and folds away the rest", () => {
  const { shown, worked, approvals, steps } = layoutOf(parts(), true);
  expect(kinds(shown)).toEqual(["The answer."]);
  expect(kinds(worked)).toEqual(["step+reasoning", "I look it up.", "tool"]);
  expect([steps, approvals.length]).toEqual([3, 1]);
});

test("a text whose phase is not known is the answer", () => {
  expect(kinds(layoutOf([fakeText("Half an ans")], true).shown)).toEqual(["Half an ans"]);
});

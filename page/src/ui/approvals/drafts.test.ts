// @vitest-environment node
import { expect, test } from "vitest";
import type { ApprovalResponseItem } from "../../api/wire";
import { createDecisionDrafts, type Decided } from "./drafts";

function storage(kept: string | null = null) {
  const values = new Map<string, string>(kept === null ? [] : [["graph-agent.decisions", kept]]);
  return {
    values,
    getItem: (name: string) => values.get(name) ?? null,
    setItem: (name: string, value: string) => void values.set(name, value),
    removeItem: (name: string) => void values.delete(name),
  };
}

const decided = (...ids: string[]): Decided =>
  new Map(
    ids.map((id): [string, ApprovalResponseItem] => [
      id,
      { type: "mcp_approval_response", approval_request_id: id, approve: false, reason: "no" },
    ]),
  );

test("Decisions of a response that wait for the others outlast a reload, until they are sent.", () => {
  const kept = storage();
  createDecisionDrafts(kept).write("resp_1", decided("a", "b"));
  const again = createDecisionDrafts(kept);
  expect([again.read("resp_1"), again.read("resp_2")]).toEqual([decided("a", "b"), new Map()]);
  again.write("resp_1", new Map());
  expect(createDecisionDrafts(kept).read("resp_1").size).toBe(0);
});

test.each(["{", "3", '[["resp_1", 3]]', '[["resp_1", [{"approve": true}]]]', "[[1, []]]", "null"])(
  "What is no decision is not read: %s",
  (text) => {
    expect(createDecisionDrafts(storage(text)).read("resp_1").size).toBe(0);
  },
);

test("The oldest responses make room, and without storage decisions last as long as the page.", () => {
  const drafts = createDecisionDrafts(null);
  for (let index = 0; index < 30; index++) drafts.write(`resp_${index}`, decided("a"));
  expect([drafts.read("resp_0").size, drafts.read("resp_29").size]).toEqual([0, 1]);
  drafts.clear();
  expect(drafts.read("resp_29").size).toBe(0);
});

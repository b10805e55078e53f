// @vitest-environment node
import { expect, test } from "vitest";
import { groupByDay } from "./days";

const now = new Date(2026, 2, 31, 0, 30);
const at = (...when: [number, number, number, number?]) => ({
  created_at: new Date(...when).getTime() / 1000,
});
const names = (...entries: { created_at: number; updated_at?: number }[]) =>
  groupByDay(entries, now).map((group) => [group.name, group.entries.length]);

test("conversations stand under the day of the reader's calendar", () => {
  expect(
    names(
      at(2026, 2, 31),
      at(2026, 2, 30, 23),
      at(2026, 2, 30, 1),
      at(2026, 2, 24),
      at(2026, 2, 1),
      at(2026, 1, 1),
    ),
  ).toEqual([
    ["Today", 1],
    ["Yesterday", 2],
    ["Previous 7 days", 1],
    ["Previous 30 days", 1],
    ["February 2026", 1],
  ]);
});

test("the day of the last change counts, and a clock that is ahead means today", () => {
  expect(names({ ...at(2025, 0, 1), updated_at: at(2026, 2, 31).created_at }, at(2026, 3, 2))).toEqual([
    ["Today", 2],
  ]);
});

test("the day after the change to summer time is one day away", () => {
  const monday = new Date(2026, 2, 30, 12);
  expect(groupByDay([at(2026, 2, 29, 12)], monday)[0]?.name).toBe("Yesterday");
});

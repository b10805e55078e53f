// @vitest-environment node
import { expect, test } from "vitest";
import { formatSeconds } from "./durations";

test.each([
  [0, "0.1 s"],
  [Number.NaN, "0.1 s"],
  [4.23, "4.2 s"],
  [9.97, "10 s"],
  [42.4, "42 s"],
  [59.7, "1 min"],
  [125, "2 min 5 s"],
  [3600, "1 h"],
  [5400, "1 h 30 min"],
])("%s seconds are %s", (seconds, words) => {
  expect(formatSeconds(seconds)).toBe(words);
});

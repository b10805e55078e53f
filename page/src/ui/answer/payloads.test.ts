// @vitest-environment node
import { expect, test } from "vitest";
import { prettyJson, summaryOf, wordsOf } from "./payloads";

test("JSON gets line breaks, and what is no JSON stays as it is", () => {
  expect(prettyJson('{"a":[1,2]}')).toBe('{\n  "a": [\n    1,\n    2\n  ]\n}');
  expect(prettyJson('"a text"')).toBe("a text");
  expect(prettyJson('{"a":')).toBe('{"a":');
});

test("very long JSON is not parsed", () => {
  const long = `[${"1,".repeat(150_000)}1]`;
  expect(prettyJson(long)).toBe(long);
  expect(summaryOf(long)).toBe("");
});

test("the line of a call says its plain arguments", () => {
  expect(summaryOf('{"city":"Bonn","days":3,"more":{"a":1},"list":[1]}')).toBe("city: Bonn · days: 3");
  expect(summaryOf('{"city":"Bo')).toBe("");
});

test("names of code read as words", () => {
  expect(["search_documents", "sendMail", "retriever", "__"].map(wordsOf)).toEqual([
    "Search documents",
    "Send Mail",
    "Retriever",
    "__",
  ]);
});

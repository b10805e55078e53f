import { afterEach, expect, test } from "vitest";
import { serviceOf } from "./surroundings";

afterEach(() => {
  document.head.replaceChildren();
});

test.each([
  [undefined, "."],
  ["./", "."],
  ["../", ".."],
  ["https://elsewhere.example/", "."],
])("with %s in the page, the service is at %s", (content, wanted) => {
  if (content !== undefined) {
    const meta = document.createElement("meta");
    meta.name = "service";
    meta.content = content;
    document.head.append(meta);
  }
  expect(serviceOf(document)).toBe(new URL(`${wanted}/`, document.baseURI).href);
});

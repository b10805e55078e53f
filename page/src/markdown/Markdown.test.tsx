import { signal } from "@preact/signals";
import { render } from "@testing-library/preact";
import { expect, test } from "vitest";
import { Markdown } from "./Markdown";

test("raw HTML is shown as text", () => {
  const { container } = render(
    <Markdown text={signal("<b onclick='x()'>hi</b>")} citations={signal([])} streaming={signal(false)} />,
  );
  expect(container.textContent).toContain("<b onclick='x()'>hi</b>");
  expect(container.querySelector("b")).toBeNull();
});

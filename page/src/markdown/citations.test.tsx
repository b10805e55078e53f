import { fireEvent } from "@testing-library/preact";
import { expect, test } from "vitest";
import type { Citation } from "../conversation/model";
import { show } from "./showing";

function cite(source: string, marker: string, number = 1, more: Partial<Citation> = {}): Citation {
  const start = source.indexOf(marker);
  return {
    start,
    end: start + marker.length,
    number,
    url: `https://docs.example/${number}`,
    title: `Title ${number}`,
    passage: `Passage ${number}`,
    ...more,
  };
}

const MARK = (number = 1) => `<a href="https://docs.example/${number}">[${number}]</a>`;

test.each([
  ["a sentence", "A b [7].", `<p>A b ${MARK()}.</p>`],
  ["strong words", "**A [7]** b", `<p><strong>A ${MARK()}</strong> b</p>`],
  ["emphasis before it", "_A_[7]", `<p><em>A</em>${MARK()}</p>`],
  ["what would be a link", "A [7](b) c", `<p>A ${MARK()}(b) c</p>`],
  ["an item", "- A [7]\n- b", `<ul><li><p>A ${MARK()}</p></li><li><p>b</p></li></ul>`],
  ["a quote over lines", "> A\n> b [7] c", `<blockquote><p>A\n  b ${MARK()} c</p></blockquote>`],
  ["a heading", "# A [7]", `<h3>A ${MARK()}</h3>`],
  ["code, behind it", "A `b [7] c` d", `<p>A <code>b [7] c</code>${MARK()} d</p>`],
  [
    "a link, behind it",
    "[A [7] b](https://a.example/) c",
    `<p><a href="https://a.example/">A [7] b</a>${MARK()} c</p>`,
  ],
])("a citation in %s is a numbered link", async (_what, source, html) => {
  const shown = await show(source, [cite(source, "[7]")]);
  expect(shown.html()).toBe(html);
});

test("a citation in a cell of a table is a numbered link", async () => {
  const source = "| a | b |\n|---|---|\n| c [7] | d |";
  const { container } = await show(source, [cite(source, "[7]")]);
  expect(container.querySelector("td a")?.textContent).toBe("[1]");
  expect(container.querySelectorAll("td")[1]?.textContent).toBe("d");
});

test("a block of code shows no citation", async () => {
  const source = "```\na [7]\n```";
  const { container } = await show(source, [cite(source, "[7]")]);
  expect(container.querySelector("code")?.textContent).toBe("a [7]");
  expect(container.querySelector("a")).toBeNull();
});

test("several citations of one marker stand beside each other", async () => {
  const source = "A [1, 2] b";
  const shown = await show(source, [cite(source, "[1, 2]", 1), cite(source, "[1, 2]", 2)]);
  expect(shown.html()).toBe(`<p>A ${MARK(1)}${MARK(2)} b</p>`);
});

test("a citation of the whole answer stands at its end", async () => {
  const source = "A b.\n\nC d.\n";
  const shown = await show(source, [cite(source, "", 1, { start: source.length, end: source.length })]);
  expect(shown.html()).toBe(`<p>A b.</p><p>C d.${MARK()}</p>`);
});

test("cited words stay, and the link follows them", async () => {
  const source = "The port is 8000. More.";
  const shown = await show(source, [cite(source, "The port is 8000.")]);
  expect(shown.html()).toBe(`<p>The port is 8000.${MARK()} More.</p>`);
});

test("citations that arrive after their text are shown", async () => {
  const source = "A [1] b\n\nC [2] d";
  const shown = await show(source, [], true);
  expect(shown.html()).toBe("<p>A [1] b</p><p>C [2] d</p>");
  await shown.cite([cite(source, "[1]", 1), cite(source, "[2]", 2)]);
  expect(shown.html()).toBe(`<p>A ${MARK(1)} b</p><p>C ${MARK(2)} d</p>`);
});

test("the passage and its document are shown on focus, and Escape hides them", async () => {
  const source = "A [7]";
  const { container, grow } = await show(source, [cite(source, "[7]")]);
  const mark = container.querySelector(".md-citation") as HTMLElement;
  fireEvent.focus(mark);
  await grow(source);
  const card = container.querySelector("[role=tooltip]");
  expect(card?.textContent).toBe("Title 1docs.examplePassage 1");
  expect(mark.getAttribute("aria-describedby")).toBe(card?.id);
  fireEvent.keyDown(document, { key: "Escape" });
  await grow(source);
  expect(container.querySelector("[role=tooltip]")).toBeNull();
  expect(mark.hasAttribute("aria-describedby")).toBe(false);
});

test("a citation without a safe address is a button", async () => {
  const source = "A [7]";
  const { container } = await show(source, [cite(source, "[7]", 1, { url: "javascript:alert(1)" })]);
  expect(container.querySelector("button.md-citation")?.textContent).toBe("[1]");
  expect(container.querySelector("a")).toBeNull();
});

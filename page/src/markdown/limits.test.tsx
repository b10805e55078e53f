import { expect, test, vi } from "vitest";
import { show } from "./showing";

vi.mock("./limits", () => ({ LONGEST_TEXT: 60_000, MOST_ELEMENTS: 500 }));

function button(container: Element, name: string): HTMLButtonElement | undefined {
  return [...container.querySelectorAll("button")].find((one) => one.textContent === name);
}

test("an answer of very many elements is shown in parts, and the next part when the reader asks", async () => {
  const source = `${"[a](https://a.example/) ".repeat(40)}\n\n`.repeat(40);
  const { container, grow } = await show(source);
  const links = () => container.querySelectorAll("a").length;
  const more = () => button(container, "Show more of this long answer");
  const first = links();
  expect(first).toBeGreaterThanOrEqual(400);
  expect(first).toBeLessThan(700);
  more()?.click();
  await grow(source);
  expect(links()).toBeGreaterThan(first + 400);
  expect(links()).toBeLessThan(first + 700);
  while (more() !== undefined) {
    more()?.click();
    await grow(source);
  }
  expect(links()).toBe(1_600);
});

test("text beyond the bound is shown as it is written, when the reader asks", async () => {
  const source = `${"a ".repeat(30_000)}**rest**`;
  const { container, grow } = await show(source);
  expect(container.textContent).not.toContain("rest*");
  button(container, "Show the rest as plain text")?.click();
  await grow(source);
  expect(container.querySelector(".md-verbatim")?.textContent).toBe("**rest**");
});

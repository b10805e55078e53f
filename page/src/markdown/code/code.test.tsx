import { fireEvent, render } from "@testing-library/preact";
import { expect, test, vi } from "vitest";
import { CodeBlock } from "./CodeBlock";
import { tokensOf } from "./grammars";
import { languageOf } from "./languages";

function button(container: Element, name: string): HTMLButtonElement {
  const found = [...container.querySelectorAll("button")].find((one) => one.textContent === name);
  if (found === undefined) {
    throw new Error(`there is no button ${name}`);
  }
  return found;
}

test("a block of code names its language and can be scrolled by the keyboard", () => {
  const { container } = render(<CodeBlock code="a" info="python title=x" />);
  const region = container.querySelector("section");
  expect(container.querySelector(".md-code-language")?.textContent).toBe("python");
  expect(region?.getAttribute("aria-label")).toBe("Code, python");
  expect(region?.tabIndex).toBe(0);
});

test("the copy button copies the code as it was written, with characters that are not shown", async () => {
  const writeText = vi.fn(() => Promise.resolve());
  vi.stubGlobal("navigator", { clipboard: { writeText } });
  const { container, findByText } = render(<CodeBlock code={"a\u202eb\n"} info="" />);
  expect(container.querySelector("code")?.textContent).toBe("a⟨U+202E⟩b\n");
  fireEvent.click(button(container, "Copy"));
  await findByText("Copied", { selector: "button" });
  expect(writeText).toHaveBeenCalledWith("a\u202eb\n");
  vi.unstubAllGlobals();
});

test("a switch wraps long lines", async () => {
  const { container, findByRole } = render(<CodeBlock code="a" info="" />);
  fireEvent.click(button(container, "Wrap"));
  await findByRole("button", { pressed: true });
  expect(container.querySelector("pre")?.className).toBe("md-wrapped");
});

test.each([
  ["py", "python"],
  ["C++", "cpp"],
  ["html", "xml"],
  ["{.js .numbers}", "javascript"],
  ["brainfuck", null],
  ["", null],
])("%s is highlighted as %s", (info, language) => {
  expect(languageOf(info).language).toBe(language);
});

const CODE = 'def f(x):\n    """Text."""\n    return x + 1  # why\n';

test("tokens of code cover all of it, and only that", () => {
  const tokens = tokensOf(CODE, "python");
  expect(tokens.reduce((sum, token) => sum + token.length, 0)).toBe(CODE.length);
  expect(tokens.filter((token) => token.kind === "keyword")).toHaveLength(2);
});

class FakeWorker extends EventTarget {
  static made = 0;
  terminate = vi.fn();

  constructor() {
    super();
    FakeWorker.made++;
  }

  postMessage({ id, code, language }: { id: number; code: string; language: "python" }): void {
    if (code.includes("endless")) {
      return;
    }
    const data = { id, tokens: tokensOf(code, language) };
    queueMicrotask(() => this.dispatchEvent(new MessageEvent("message", { data })));
  }
}

test("code that rests is highlighted by a worker, and one that takes too long is ended", async () => {
  vi.useFakeTimers();
  vi.stubGlobal("Worker", FakeWorker);
  try {
    const first = render(<CodeBlock code="endless = 1" info="python" />);
    const second = render(<CodeBlock code={CODE} info="python" />);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(second.container.querySelector(".md-keyword")).toBeNull();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(first.container.querySelector(".md-number")).toBeNull();
    expect(second.container.querySelector(".md-keyword")?.textContent).toBe("def");
    expect(second.container.querySelector("code")?.textContent).toBe(CODE);
    expect(FakeWorker.made).toBe(2);
  } finally {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  }
});

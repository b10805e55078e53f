import { expect, test } from "vitest";
import { addressOf, misleads } from "./address";
import { DEEPEST } from "./grammar";
import { GrowingDocument } from "./growing_document";
import { show } from "./showing";

const ATTACKS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg/onload=alert(1)>",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "<a href='javascript:alert(1)'>a</a>",
  "<style>@import 'https://evil.example'</style>",
  "<!--><img src=x onerror=alert(1)>-->",
  "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
  "[a](javascript:alert(1))",
  "[a](JaVaScRiPt:alert(1))",
  "[a](java\tscript:alert(1))",
  "[a](<java\nscript:alert(1)>)",
  "[a](&#106;avascript:alert(1))",
  "[a](javascript&colon;alert(1))",
  "[a](\u0001javascript:alert(1))",
  "[a](data:text/html;base64,PHNjcmlwdD4=)",
  "[a](vbscript:a)",
  "[a](file:///etc/passwd)",
  "[a](blob:https://a.example/b)",
  "[a](//evil.example)",
  "[a](\\\\evil.example)",
  "[a](/v1/conversations)",
  "[a](#x)",
  "![a](https://evil.example/pixel.png)",
  "![a](data:image/svg+xml,<svg/onload=alert(1)>)",
  "[a]: javascript:alert(1)\n\n[a]",
  "<javascript:alert(1)>",
  '[a](https://a.example/"onmouseover="alert(1))',
  "[a](https://a.example 'x\" onclick=\"alert(1)')",
  '```"><img src=x onerror=alert(1)>\na\n```',
  "| <img src=x onerror=alert(1)> |\n|-|\n| [a](javascript:alert(1)) |",
  "[^<img src=x>]: <img src=x onerror=alert(1)>",
];

const ELEMENTS =
  "a blockquote br button code del div em figcaption figure h3 h4 h5 h6 hr input li ol p pre section span strong sup table tbody td th thead tr ul";

test.each(ATTACKS)("%s does nothing", async (source) => {
  const { container } = await show(`${source}\n\na ${source} b\n\n- ${source}`);
  const allowed = new Set(ELEMENTS.split(" "));
  for (const element of container.querySelectorAll("*")) {
    expect(allowed).toContain(element.localName);
    for (const { name, value } of element.attributes) {
      expect(name).not.toMatch(/^on|^style$|^src|^srcdoc$|^formaction$/);
      expect(value).not.toMatch(/^\s*javascript:/i);
    }
    if (element.localName === "a") {
      expect(element.getAttribute("href")).toMatch(/^(https?:\/\/|mailto:)/);
      expect(element.getAttribute("rel")).toBe("noopener noreferrer nofollow");
      expect(element.getAttribute("target")).toBe("_blank");
    }
  }
});

test("an address that is no link is shown as it is written", async () => {
  const source = "[a](javascript:alert(1)) ![b](data:image/png,c) [d](/e)";
  expect((await show(source)).container.textContent).toBe(source);
});

test.each([
  ["https://a.example/b?c=d#e", "https://a.example/b?c=d#e"],
  ["HTTPS://A.example", "https://a.example/"],
  ["<https://a.example/(b)>", "https://a.example/(b)"],
  ["https://a.example/?b&amp;c", "https://a.example/?b&c"],
  ["mailto:a@b.example", "mailto:a@b.example"],
  ["https://", null],
  ["https:a.example", null],
  ["https://a.example/\u202egpj", null],
  ["https://a.example/\u200b", null],
  ["https://a.example/\u00a0b", null],
  ["ftp://a.example", null],
  [`https://a.example/${"b".repeat(5_000)}`, null],
])("the address %s leads to %s", (source, href) => {
  expect(addressOf(source)?.href ?? null).toBe(href);
});

test.each([
  ["a.example", "https://a.example/b", false],
  ["www.a.example", "https://a.example/", false],
  ["https://a.example/long/path", "https://a.example/", false],
  ["read this", "https://a.example/", false],
  ["v1.2 of the API", "https://a.example/", false],
  ["a.example", "https://b.example/", true],
  ["https://a.example/b", "https://a.example.evil.example/b", true],
  ["//a.example/x", "https://evil.example/", true],
  ["a.example:443", "https://evil.example/", true],
  // The first letter is Cyrillic.
  ["аpple.example", "https://apple.example/", true],
  ["a@b.example", "mailto:c@evil.example", true],
  ["a@b.example", "mailto:a@b.example", false],
])("the text %s of a link to %s misleads: %s", (text, href, answer) => {
  const address = addressOf(href);
  expect(address !== null && misleads(text, address)).toBe(answer);
});

test.each([
  ["quotes", "> ".repeat(10_000)],
  ["lists", "- ".repeat(10_000)],
  ["numbers", "1. ".repeat(10_000)],
  ["items by indentation", Array.from({ length: 300 }, (_, at) => `${"  ".repeat(at)}- a`).join("\n")],
  ["brackets", `${"[".repeat(10_000)}a${"]".repeat(10_000)}`],
  ["emphasis", `${"*a **b ".repeat(3_000)}${"c** d* ".repeat(3_000)}`],
  ["links in links", "[a](".repeat(5_000)],
])("%s in each other are shown to a bounded depth, with all their text", async (_what, source) => {
  const { container } = await show(`${source}end`);
  let deepest = 0;
  for (const element of container.querySelectorAll("*")) {
    let depth = 0;
    for (let at: Element | null = element; at !== null && at !== container; at = at.parentElement) {
      depth++;
    }
    deepest = Math.max(deepest, depth);
  }
  expect(deepest).toBeLessThan(DEEPEST * 2 + 20);
  expect(container.textContent).toContain("end");
});

/** Each takes seconds or minutes where a step is quadratic in the length, and milliseconds where none is. */
test.each([
  ["spaces after a line with a bar", `a\nb|c\n${" ".repeat(200_000)}x`],
  ["a label that does not end", `[${"a\n".repeat(100_000)}`],
  ["a title that does not end", `[a]: b "${"c\n".repeat(100_000)}`],
  ["a formula that does not end", `$$\n${"c\n".repeat(100_000)}`],
  ["comments that do not end", "<!-- ".repeat(40_000)],
  ["brackets after an address", `www.a.example/${")".repeat(200_000)}`],
  ["lists in a line", "- ".repeat(100_000)],
  ["lines of a quote", "> a\n".repeat(20_000)],
])("%s: parsing takes no more than a moment", (_what, source) => {
  const parsed = new GrowingDocument();
  parsed.feed(source);
  const turns = { count: 0 };
  while (!parsed.finished && turns.count < 1_000_000) {
    parsed.work(0);
    turns.count++;
  }
  expect(parsed.text.length).toBe(source.length);
});

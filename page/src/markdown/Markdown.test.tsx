import { expect, test } from "vitest";
import { show } from "./showing";

const CASES: [what: string, source: string, html: string][] = [
  ["paragraphs with soft and hard breaks", "a\nb  \nc\\\nd", "<p>a\nb<br>c<br>d</p>"],
  ["emphasis", "*a* **b _c_** ~~d~~", "<p><em>a</em> <strong>b <em>c</em></strong> <del>d</del></p>"],
  ["headings below those of the page", "# A\n\n#### D ####\n\nE\n---", "<h3>A</h3><h6>D</h6><h4>E</h4>"],
  ["a list with its first number", "4. a\n5. b", '<ol start="4"><li><p>a</p></li><li><p>b</p></li></ol>'],
  [
    "lists in lists",
    "- a\n  1. b\n- c",
    "<ul><li><p>a</p><ol><li><p>b</p></li></ol></li><li><p>c</p></li></ul>",
  ],
  [
    "quotes over several lines",
    "> a **b\n> c**",
    "<blockquote><p>a <strong>b\n  c</strong></p></blockquote>",
  ],
  ["code in a line", "`` a ` *b* ``", "<p><code>a ` *b*</code></p>"],
  ["code in a quote", "> ```\n> a\n>\n> b\n> ```", codeOf("a\n\nb", "blockquote")],
  ["indented code", "    a\n      b", codeOf("a\n  b")],
  ["code whose mark never comes", "```\n*a*", codeOf("*a*")],
  ["code behind an indented mark", "  ```\n  a\n    b\n  ```", codeOf("a\n  b")],
  ["a rule", "a\n\n***", "<p>a</p><hr>"],
  ["references of characters", "&lt;&#x41;&auml;&nosuch; \\* &#0;", "<p>&lt;Aä&amp;nosuch; * \ufffd</p>"],
  ["HTML as text", '<b onclick="x()">a</b>', '<p>&lt;b onclick="x()"&gt;a&lt;/b&gt;</p>'],
  ["blocks of HTML as text", "<div>\n*a*\n</div>", "<div><p>&lt;div&gt;\n*a*\n&lt;/div&gt;</p></div>"],
  ["comments as text", "a <!-- *b* --> c", "<p>a &lt;!-- *b* --&gt; c</p>"],
  [
    "formulas as text",
    "$a_1*b_2*c$ and \\(x_1_2\\)",
    "<p><span>$a_1*b_2*c$</span> and <span>\\(x_1_2\\)</span></p>",
  ],
  ["prices, which are no formulas", "$5 *or* $10", "<p>$5 <em>or</em> $10</p>"],
  ["formulas over lines", "so\n$$\na\n- b\n$$\nc", "<p>so</p><div><p>$$\na\n- b\n$$</p></div><p>c</p>"],
  ["formulas in brackets", "\\[\na_1\n= b_2\n\\]", "<div><p>\\[\na_1\n= b_2\n\\]</p></div>"],
  [
    "done and open tasks",
    "- [x] a\n- [ ] b",
    '<ul><li><input type="checkbox" disabled=""><p>a</p></li><li><input type="checkbox" disabled=""><p>b</p></li></ul>',
  ],
  [
    "tables with empty and missing cells",
    "| a | b |\n|:-|-:|\n| | `x\\|y` |\n| 1",
    '<div><section><table><thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead><tbody>' +
      "<tr><td></td><td><code>x|y</code></td></tr><tr><td>1</td><td></td></tr></tbody></table></section></div>",
  ],
  ["a table in a quote", "> a|b\n> -|-\n> 1|2", tableOf("blockquote")],
  ["links", "[*a*](https://a.example/b 'T')", '<p><a href="https://a.example/b"><em>a</em></a></p>'],
  [
    "bare addresses",
    "see https://a.example/b_c_d.",
    '<p>see <a href="https://a.example/b_c_d">https://a.example/b_c_d</a>.</p>',
  ],
  ["mail addresses", "<a@b.example>", '<p><a href="mailto:a@b.example">a@b.example</a></p>'],
  ["links by label", "[a][X] [x] [y]\n\n[x]: https://x.example", labels()],
  [
    "images as links",
    "![a](https://b.example/c.png)",
    '<p><a href="https://b.example/c.png">a<span> (b.example)</span></a></p>',
  ],
  [
    "links without text",
    "[](https://b.example/)",
    '<p><a href="https://b.example/"><span> (b.example)</span></a></p>',
  ],
  [
    "the host of a link that names another",
    "[bank.example/login](https://evil.example/)",
    '<p><a href="https://evil.example/">bank.example/login<span> (evil.example)</span></a></p>',
  ],
  [
    "the host behind a name that looks like one",
    "<https://bank.example@evil.example/>",
    '<p><a href="https://bank.example@evil.example/">https://bank.example@evil.example/<span> (evil.example)</span></a></p>',
  ],
  ["overrides of the direction by their names", "a\u202eb", "<p>a⟨U+202E⟩b</p>"],
  ["footnotes", "a[^1]\n\n[^1]: b\n[^2]: c", footnotes()],
  ["notes without their footnote as text", "a[^1]", "<p>a[^1]</p>"],
];

function codeOf(code: string, around = ""): string {
  const block = `<figure><section><pre><code><span>${code}</span></code></pre></section></figure>`;
  return around === "" ? block : `<${around}>${block}</${around}>`;
}

function tableOf(around: string): string {
  return (
    `<${around}><div><section><table><thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>` +
    `<tbody><tr><td>1</td><td>2</td></tr></tbody></table></section></div></${around}>`
  );
}

function labels(): string {
  return '<p><a href="https://x.example/">a</a> <a href="https://x.example/">x</a> [y]</p>';
}

function footnotes(): string {
  const note = (label: string, text: string) =>
    `<div data-footnote="${label}"><span>${label}</span><p>${text}</p></div>`;
  return `<p>a<sup><button type="button">1</button></sup></p>${note("1", "b")}${note("2", "c")}`;
}

test.each(CASES)("shows %s", async (_what, source, html) => {
  const shown = await show(source);
  expect(shown.html()).toBe(html);
});

test("a list is loose if an empty line stands in it", async () => {
  const { container } = await show("- a\n- b\n\n1. a\n\n   b\n2. c");
  expect(container.querySelector("ul")?.className).toBe("");
  expect(container.querySelector("ol")?.className).toBe("md-loose");
});

test("right-to-left lists and paragraphs say so", async () => {
  const { container } = await show("- שלום\n- b\n\nمرحبا");
  expect(container.querySelector("ul")?.dir).toBe("rtl");
  expect([...container.querySelectorAll("p")].every((one) => one.dir === "auto")).toBe(true);
});

test("a table of many rows shows the first 200, and 200 more when asked", async () => {
  const rows = Array.from({ length: 450 }, (_, at) => `| ${at} |`).join("\n");
  const { container, grow } = await show(`| n |\n|---|\n${rows}`);
  const shownRows = () => container.querySelectorAll("tbody tr").length;
  expect(shownRows()).toBe(200);
  const more = container.querySelector<HTMLButtonElement>(".md-table > button");
  expect(more?.textContent).toBe("Show 200 more rows (250 hidden)");
  more?.click();
  await grow(`| n |\n|---|\n${rows}`);
  expect(shownRows()).toBe(400);
  more?.click();
  await grow(`| n |\n|---|\n${rows}`);
  expect(shownRows()).toBe(450);
  expect(container.querySelector(".md-table > button")).toBeNull();
});

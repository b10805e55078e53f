import { expect, test } from "vitest";
import { type Block, childrenOf, GrowingDocument } from "./growing_document";
import { show } from "./showing";

/** A generator of numbers from 0 to 1 that gives the same ones each time. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const FRAGMENTS = [
  "a",
  "Wort ",
  "日本 ",
  "\n",
  "\n",
  "\n\n",
  "  \n",
  "    ",
  "\t",
  "- ",
  "1. ",
  "2) ",
  "> ",
  "# ",
  "###",
  "```",
  "```py\n",
  "~~~\n",
  "*",
  "**",
  "_",
  "`",
  "``",
  "[",
  "]",
  "](",
  ")",
  "[a]",
  "[a]: https://a.example\n",
  "[^1]",
  "[^1]: ",
  "![",
  "<b>",
  "<div>\n",
  "-->",
  "<!--",
  "&amp;",
  "&",
  "\\",
  "$",
  "$$",
  "$$\n",
  "\\[",
  "\\]",
  "|",
  "| a | b |\n|---|---|\n",
  "|-|\n",
  "---\n",
  "===\n",
  "* * *\n",
  "https://b.example/x ",
  "www.c.example",
  "[ ] ",
  "- [x] ",
  "~~",
  "\u202e",
  "שלום",
  "+ ",
  "   - ",
  "   ",
  "10. ",
  "a|b\n",
  "-|-\n",
];

function randomSource(random: () => number): string {
  let source = "";
  for (let count = 2 + random() * 40; count > 0; count--) {
    source += FRAGMENTS[Math.floor(random() * FRAGMENTS.length)] ?? "";
  }
  return source;
}

function outline(blocks: readonly Block[]): unknown[] {
  return blocks.map((block) => [
    block.name,
    block.from,
    block.to,
    outline(childrenOf(block.tree, block.from)),
  ]);
}

function blocksOf(parsed: GrowingDocument): string {
  while (!parsed.finished) {
    parsed.work(Number.POSITIVE_INFINITY);
  }
  return JSON.stringify(outline([...parsed.settled, ...parsed.tail]));
}

test("a text that arrives in parts has the blocks of one that arrives at once", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = dice(seed);
    const source = randomSource(random);
    const whole = new GrowingDocument();
    whole.feed(source);
    const parts = new GrowingDocument();
    for (let at = 0; at < source.length; ) {
      at = Math.min(source.length, at + 1 + Math.floor(random() * 12));
      parts.feed(source.slice(0, at));
      blocksOf(parts);
    }
    expect(blocksOf(parts), `seed ${seed}: ${JSON.stringify(source)}`).toBe(blocksOf(whole));
  }
});

test("an answer that arrives in parts is shown as one that arrives at once", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const random = dice(seed);
    const source = randomSource(random);
    const whole = (await show(source)).html();
    const shown = await show("", [], true);
    for (let at = 0; at < source.length; ) {
      at = Math.min(source.length, at + 1 + Math.floor(random() * 24));
      await shown.grow(source.slice(0, at));
    }
    await shown.end();
    expect(shown.html(), `seed ${seed}: ${JSON.stringify(source)}`).toBe(whole);
  }
});

test("a text that is replaced by another one is shown anew", async () => {
  const shown = await show("# a\n\nb", [], true);
  await shown.grow("c *d*");
  expect(shown.html()).toBe("<p>c <em>d</em></p>");
});

test("a definition counts when its line is complete, or the answer has ended", async () => {
  const link = (host: string) => `<p><a href="https://${host}/">a</a></p>`;
  const shown = await show("[a]\n\n[a]: https://a.ex", [], true);
  expect(shown.html()).toBe("<p>[a]</p>");
  await shown.grow("[a]\n\n[a]: https://a.example");
  await shown.end();
  expect(shown.html()).toBe(link("a.example"));
});

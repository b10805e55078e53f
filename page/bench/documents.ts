/** What `make bench-page` shows: a long answer as models write them, and documents made to make a page slow. */

const SECTION = (at: number) => `## Step ${at}: read the *configuration*

The service reads \`settings.toml\` first and then the environment, so that **an operator** can change a single value
without a new image. See the [reference](https://docs.example/settings#${at}) and the notes below, which list what
happens when a value is missing or has the wrong type.

1. Open the file and look for the section \`[service]\`.
   - The port is a number from 1 to 65535.
   - The timeout is in *seconds*; 0 means that there is none.
2. Check the values with \`graph-agent check\`.

\`\`\`python
def read(path: str, *, strict: bool = True) -> dict[str, int]:
    """Read the settings of step ${at}."""
    with open(path, encoding="utf-8") as file:
        values = dict(line.split("=", 1) for line in file if "=" in line)
    return {name: int(value) for name, value in values.items() if strict or value.isdigit()}
\`\`\`

| Name | Default | Meaning |
|:-----|--------:|---------|
| \`port\` | 8000 | Where the service listens |
| \`timeout\` | 30 | How long a request may take |
| \`workers\` | ${at} | How many processes answer |

> A value that is set twice is an error, and the message names both places.

`;

const KINDS = `# Heading *one*

Text with **strong _both_** and \`code\` and <b>HTML</b>, [a link](https://a.example "title"),
[another host](https://b.example), [a.example](https://evil.example), ![an image](https://i.example/x.png),
a formula $a_1 + b_2$, a note[^n] and a marker [1]. Again [2].

## Heading two

1. one
2. two with a long line that wraps when the window is narrow, because it goes on and on and on until it has to
   - inner
   - **inner**
- [x] done
- [ ] open

> A quote
> > in a quote

| Left | Center | Right |
|:-----|:------:|------:|
| 1 | **2** | 3 |
| long text in a cell | \`code\` | 4,000 |

\`\`\`python
@cache
def read(path: str, *, limit: int = 10) -> list[str]:
    """Read a file."""
    # The first lines only, in a comment that is so long that it does not fit into the width of the block at all.
    return [line.strip() for line in open(path)][:limit]
\`\`\`

\`\`\`diff
- old
+ new
\`\`\`

$$
E = mc^2
$$

שלום **עולם** abc

- פריט
- item

***

[^n]: A note with *emphasis*.
`;

function until(length: number, part: (at: number) => string): string {
  const parts: string[] = [];
  for (let at = 1, total = 0; total < length; at++) {
    const next = part(at);
    parts.push(next);
    total += next.length;
  }
  return parts.join("").slice(0, length);
}

const MB = 1_000_000;

/** Each is made when it is asked for. */
export const DOCUMENTS: Record<string, () => string> = {
  "all kinds of blocks": () => KINDS,
  "long answer": () => until(200_000, SECTION),
  "long list": () =>
    until(
      200_000,
      (at) => `${at}. Item **${at}** with \`code\`\n   - inner [link](https://a.example/${at})\n`,
    ),
  "long code": () => `\`\`\`python\n${until(MB, (at) => `value_${at} = compute(${at}, "text")  # why\n`)}`,
  "one line of 1 MB": () => until(MB, (at) => `word${at} `),
  "one word of 1 MB": () => "x".repeat(MB),
  "one paragraph of 1 MB": () => until(MB, (at) => `line ${at} of a *paragraph* that does not end\n`),
  "table of 10,000 rows": () =>
    `| a | b | c |\n|---|--:|---|\n${until(600_000, (at) => `| row ${at} | ${at} | some \`code\` and *text* of ${at} |\n`)}`,
  "table of 50,000 columns": () =>
    `${"|a".repeat(50_000)}|\n${"|-".repeat(50_000)}|\n${"|1".repeat(50_000)}|\n`,
  "10,000 quotes in quotes": () => `${">".repeat(10_000)} a\n`.repeat(20),
  "10,000 lists in lists": () => `${"- ".repeat(10_000)}a\n`,
  "10,000 lists by indentation": () => until(MB, (at) => `${"  ".repeat(Math.min(at, 500))}- ${at}\n`),
  "10,000 brackets": () => `${"[".repeat(10_000)}a${"]".repeat(10_000)}\n\n${"[a](".repeat(20_000)}`,
  "emphasis that never ends": () => "*a **b _c ".repeat(30_000),
  "emphasis that only ends": () => "a* b** c_ ".repeat(30_000),
  "marks alone": () => "*_".repeat(100_000),
  "100,000 links": () => "[a](https://a.example/b) ".repeat(100_000),
  "100,000 bare addresses": () => "https://a.example/b ".repeat(50_000),
  "100,000 references": () => "[a] ".repeat(100_000),
  "definitions that never end": () => `[a]: b "${until(500_000, (at) => `${at}\n`)}`,
  "labels that never end": () => `[${until(500_000, (at) => `${at}\n`)}`,
  "comments that never end": () => "<!-- ".repeat(100_000),
  "tags that never end": () => "<a b='c ".repeat(60_000),
  "code that never ends": () => until(500_000, (at) => `${"`".repeat((at % 50) + 1)} a `),
  "spaces before a table": () => `a\nb|c\n${" ".repeat(300_000)}x\n`,
  "tabs and spaces": () => until(500_000, () => `\t \t- \t\n`),
  entities: () => "&amp;&#65;&nosuch;".repeat(30_000),
  formulas: () => "$a $b $$c \\( \\[ ".repeat(30_000),
  "addresses with brackets": () => `www.a.example/${")".repeat(300_000)}`,
  "right to left and overrides": () =>
    until(300_000, (at) => `\u202eשלום ${at} \u2067مرحبا\u2066 **עולם**\n\n`),
  "zero width": () => "a\u200b\u200d\u2060".repeat(100_000),
  "combining characters": () => `a${"\u0301".repeat(200_000)}`,
};

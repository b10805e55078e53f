/** Which languages are highlighted, and how their tokens become classes. Loaded only when there is code. */

import type { ElementContent } from "hast";
import bash from "highlight.js/lib/languages/bash";
import c from "highlight.js/lib/languages/c";
import cpp from "highlight.js/lib/languages/cpp";
import css from "highlight.js/lib/languages/css";
import diff from "highlight.js/lib/languages/diff";
import go from "highlight.js/lib/languages/go";
import java from "highlight.js/lib/languages/java";
import javascript from "highlight.js/lib/languages/javascript";
import json from "highlight.js/lib/languages/json";
import markdown from "highlight.js/lib/languages/markdown";
import python from "highlight.js/lib/languages/python";
import rust from "highlight.js/lib/languages/rust";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { createLowlight } from "lowlight";
import type { Language } from "./languages";

const GRAMMARS: Record<Language, Parameters<ReturnType<typeof createLowlight>["register"]>[1]> = {
  bash,
  c,
  cpp,
  css,
  diff,
  go,
  java,
  javascript,
  json,
  markdown,
  python,
  rust,
  sql,
  typescript,
  xml,
  yaml,
};

const lowlight = createLowlight(GRAMMARS);

/** A run of characters of one kind. `kind` is `null` for plain text. */
export interface CodeToken {
  length: number;
  kind: string | null;
}

/** The tokens of the code, in order. Their lengths add up to the length of the code. */
export function tokensOf(code: string, language: Language): CodeToken[] {
  const tokens: CodeToken[] = [];
  collect(lowlight.highlight(language, code).children as ElementContent[], null, tokens);
  return tokens;
}

function collect(nodes: readonly ElementContent[], kind: string | null, tokens: CodeToken[]): void {
  for (const node of nodes) {
    if (node.type === "text") {
      tokens.push({ length: node.value.length, kind });
    } else if (node.type === "element") {
      const names = node.properties.className;
      const name = Array.isArray(names) ? names.find((one) => String(one).startsWith("hljs-")) : undefined;
      collect(node.children, name === undefined ? kind : String(name).slice("hljs-".length), tokens);
    }
  }
}

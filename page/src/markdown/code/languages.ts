/** The languages that can be highlighted, and the names that answers give them. */

export type Language =
  | "bash"
  | "c"
  | "cpp"
  | "css"
  | "diff"
  | "go"
  | "java"
  | "javascript"
  | "json"
  | "markdown"
  | "python"
  | "rust"
  | "sql"
  | "typescript"
  | "xml"
  | "yaml";

const NAMES: Record<Language, string> = {
  bash: "sh shell zsh console shellscript",
  c: "h",
  cpp: "c++ cc cxx hpp",
  css: "scss",
  diff: "patch",
  go: "golang",
  java: "",
  javascript: "js jsx mjs cjs node",
  json: "jsonc json5 jsonl",
  markdown: "md",
  python: "py python3 pycon ipython",
  rust: "rs",
  sql: "postgresql mysql sqlite spark-sql",
  typescript: "ts tsx",
  xml: "html xhtml svg vue",
  yaml: "yml",
};

const KNOWN = new Map<string, Language>();
for (const [language, aliases] of Object.entries(NAMES)) {
  for (const name of [language, ...aliases.split(" ")].filter(Boolean)) {
    KNOWN.set(name, language as Language);
  }
}

/** The language after the opening mark of a code block, as it is shown, and whether it can be highlighted. */
export function languageOf(info: string): { label: string; language: Language | null } {
  const label = /^[\p{L}\p{N}+#._-]{1,30}/u.exec(info.trim().replace(/^[{.\s]+/, ""))?.[0] ?? "";
  return { label, language: KNOWN.get(label.toLowerCase()) ?? null };
}

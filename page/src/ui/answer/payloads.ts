const MOST_TO_FORMAT = 200_000;

/** JSON with line breaks; any other text as it is. Very long JSON stays as it is too. */
export function prettyJson(text: string): string {
  if (text.length > MOST_TO_FORMAT) return text;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : JSON.stringify(value, null, 2);
  } catch {
    return text;
  }
}

/** The arguments of a call in a few words, for its line: `city: Bonn · days: 3`. */
export function summaryOf(argumentsText: string): string {
  if (argumentsText.length > MOST_TO_FORMAT) return "";
  try {
    const value: unknown = JSON.parse(argumentsText);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return "";
    return Object.entries(value)
      .filter(([, v]) => ["string", "number", "boolean"].includes(typeof v))
      .slice(0, 4)
      .map(([name, v]) => `${name}: ${String(v).slice(0, 80)}`)
      .join(" · ");
  } catch {
    return "";
  }
}

/** A name of code as words: `search_documents` becomes `Search documents`. */
export function wordsOf(name: string): string {
  const words = name
    .replace(/([\p{Ll}\d])(\p{Lu})/gu, "$1 $2")
    .replace(/[_\-.]+/g, " ")
    .trim();
  return words === "" ? name : words.charAt(0).toUpperCase() + words.slice(1);
}

/** The arguments of a call as an object, or `null` if the text is something else. */
export function recordOf(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

/** The words of a question: the text that the graph asked, or its fields. */
export function questionOf(text: string): { words: string | null; fields: string | null } {
  let value: unknown = text;
  try {
    value = JSON.parse(text);
  } catch {
    // A text that is no JSON is the question itself.
  }
  if (typeof value === "string") return { words: value, fields: null };
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return { words: null, fields: text };
  const { question, message, ...rest } = value as Record<string, unknown>;
  const words = typeof question === "string" ? question : typeof message === "string" ? message : null;
  if (words === null) return { words: null, fields: text };
  return { words, fields: Object.keys(rest).length > 0 ? JSON.stringify(rest) : null };
}

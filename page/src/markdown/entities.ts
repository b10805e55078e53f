/** Character references (`&amp;`, `&#65;`) and backslash escapes as the characters that they stand for. */

const NAMED = new Map<string, string>();

/** The character of one reference, with its `&` and `;`. An unknown name stays as it is. */
export function characterOf(reference: string): string {
  const numeric = /^&#(?:(\d{1,7})|x([\da-f]{1,6}));$/i.exec(reference);
  if (numeric !== null) {
    const code = numeric[1] !== undefined ? Number(numeric[1]) : Number.parseInt(numeric[2] ?? "", 16);
    const valid = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return valid ? String.fromCodePoint(code) : "\ufffd";
  }
  if (!/^&[a-z][a-z\d]{1,31};$/i.test(reference)) {
    return reference;
  }
  let known = NAMED.get(reference);
  if (known === undefined) {
    // The browser knows all 2,000 names. The text is a name between & and ; and nothing else, so no markup is parsed.
    known = new DOMParser().parseFromString(reference, "text/html").body.textContent ?? reference;
    if (NAMED.size < 3_000) {
      NAMED.set(reference, known);
    }
  }
  return known;
}

/** The text without backslash escapes and character references. */
export function decoded(text: string): string {
  return text.replace(
    /\\([!-/:-@[-`{-~])|&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,31});/gi,
    (found, escaped) => (escaped !== undefined ? escaped : characterOf(found)),
  );
}

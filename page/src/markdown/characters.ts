/** Characters that change how other characters are shown. */

// Overrides and embeddings reach beyond their text until they are closed. Marks (LRM, RLM) and joiners do not, and
// Persian, Arabic and emoji need them.
const OVERRIDES = /[\u202a-\u202e]/g;
const OVERRIDES_AND_ISOLATES = /[\u202a-\u202e\u2066-\u2069]/g;

function named(character: string): string {
  return `⟨U+${character.charCodeAt(0).toString(16).toUpperCase()}⟩`;
}

/** The text with overrides of the writing direction written out, so that they can be seen and do nothing. */
export function readable(text: string): string {
  return text.replace(OVERRIDES, named);
}

/** The same for code, where isolates have no use either and can make code look like other code. */
export function readableCode(text: string): string {
  return text.replace(OVERRIDES_AND_ISOLATES, named);
}

const STRONG =
  /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]|(\p{L})/u;

/** The direction of a list or a quote, by its first letters. */
export function directionOf(text: string): "rtl" | "ltr" {
  const found = STRONG.exec(text.slice(0, 200));
  return found !== null && found[1] === undefined ? "rtl" : "ltr";
}

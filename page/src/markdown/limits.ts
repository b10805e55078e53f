/** How much of an answer is shown until the reader asks for more. */

/** Text beyond this many UTF-16 units is not parsed. It is shown as it is written, when the reader asks. */
export const LONGEST_TEXT = 2_000_000;

/** How many elements of an answer are shown until the reader asks for more. */
export const MOST_ELEMENTS = 50_000;

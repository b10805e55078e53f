export type Command = "new" | "search" | "sidebar" | "theme" | "shortcuts";

export interface Shortcut {
  command: Command;
  key: string;
  shift: boolean;
  words: string;
}

// All hold Ctrl (on a Mac: ⌘), so none takes a single key from a screen reader or from text.
export const SHORTCUTS: readonly Shortcut[] = [
  { command: "new", key: "o", shift: true, words: "New chat" },
  { command: "search", key: "k", shift: false, words: "Search conversations" },
  { command: "sidebar", key: "b", shift: false, words: "Show or hide the conversations" },
  { command: "theme", key: "l", shift: true, words: "Light or dark" },
  { command: "shortcuts", key: "/", shift: false, words: "Show these shortcuts" },
];

/** The keys of the message field, which need no Ctrl. */
export const FIELD_KEYS: readonly { keys: string; words: string }[] = [
  { keys: "Enter", words: "Send the message, also into an answer that is being written" },
  { keys: "Shift + Enter", words: "Begin a new line" },
  { keys: "Escape", words: "Stop the answer" },
  { keys: "↑", words: "Edit your last message, while the field is empty" },
];

type Pressed = Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey" | "isComposing">;

/** The command of a key press, or `null`. */
export function commandOf(event: Pressed, mac: boolean): Command | null {
  if (event.isComposing || event.altKey) return null;
  if (mac ? !event.metaKey || event.ctrlKey : !event.ctrlKey || event.metaKey) return null;
  const key = event.key.toLowerCase();
  // A slash needs Shift on many keyboards, so Shift does not count with it.
  const found = SHORTCUTS.find((s) => s.key === key && (key === "/" || s.shift === event.shiftKey));
  return found?.command ?? null;
}

export function keysOf({ key, shift }: Shortcut, mac: boolean): string {
  return [mac ? "⌘" : "Ctrl", ...(shift ? ["Shift"] : []), key.toUpperCase()].join(" + ");
}

// @vitest-environment node
import { expect, test } from "vitest";
import { commandOf, keysOf, SHORTCUTS } from "./shortcuts";

const press = (key: string, held: Partial<KeyboardEvent> = {}) => ({
  key,
  ctrlKey: true,
  metaKey: false,
  altKey: false,
  shiftKey: false,
  isComposing: false,
  ...held,
});

test("Ctrl and a key is a command, and on a Mac ⌘ and the key", () => {
  expect(commandOf(press("k"), false)).toBe("search");
  expect(commandOf(press("O", { shiftKey: true }), false)).toBe("new");
  expect(commandOf(press("k"), true)).toBeNull();
  expect(commandOf(press("k", { ctrlKey: false, metaKey: true }), true)).toBe("search");
});

test("no key alone, no key with Alt, and no key of an input method is a command", () => {
  for (const { key } of SHORTCUTS) {
    expect(commandOf(press(key, { ctrlKey: false }), false)).toBeNull();
    expect(commandOf(press(key, { altKey: true }), false)).toBeNull();
    expect(commandOf(press(key, { isComposing: true }), false)).toBeNull();
  }
});

test("a keyboard whose slash needs Shift can show the shortcuts", () => {
  expect(commandOf(press("/", { shiftKey: true }), false)).toBe("shortcuts");
});

test("the keys are written as they are on the keyboard", () => {
  expect(SHORTCUTS.slice(0, 1).map((shortcut) => [keysOf(shortcut, false), keysOf(shortcut, true)])).toEqual([
    ["Ctrl + Shift + O", "⌘ + Shift + O"],
  ]);
});

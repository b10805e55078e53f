// @vitest-environment node
import { expect, test } from "vitest";
import { createTheme } from "./theme";

function machine(dark: boolean) {
  const listeners: (() => void)[] = [];
  const query = {
    matches: dark,
    addEventListener: (_: string, listener: () => void) => void listeners.push(listener),
  };
  const kept = new Map<string, string>();
  const storage = {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
  const root = { dataset: {} as DOMStringMap };
  const change = (to: boolean) => {
    query.matches = to;
    for (const listener of listeners) listener();
  };
  const begin = () => createTheme({ storage, dark: query as unknown as MediaQueryList, root });
  return { begin, change, root, kept };
}

test("the theme follows the machine until the reader chooses", () => {
  const { begin, change, root } = machine(false);
  const theme = begin();
  expect(theme.shown.value).toBe("light");
  change(true);
  expect(theme.shown.value).toBe("dark");
  expect(root.dataset.theme).toBeUndefined();
});

test("a choice outlives the page, and the machine's own theme is no choice", () => {
  const { begin, root, kept } = machine(false);
  begin().toggle();
  expect(root.dataset.theme).toBe("dark");
  const again = begin();
  expect(again.shown.value).toBe("dark");
  again.toggle();
  expect(root.dataset.theme).toBeUndefined();
  expect(kept.size).toBe(0);
});

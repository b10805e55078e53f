import { type ReadonlySignal, signal } from "@preact/signals";

const KEY = "graph-agent.theme";

export interface Theme {
  /** What is shown now. */
  shown: ReadonlySignal<"light" | "dark">;
  toggle(): void;
}

interface Browser {
  storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
  /** The query `(prefers-color-scheme: dark)`. */
  dark: Pick<MediaQueryList, "matches" | "addEventListener">;
  root: { dataset: DOMStringMap };
}

/** The theme of the machine, until the reader chooses another. A choice that equals the machine's is forgotten. */
export function createTheme({ storage, dark, root }: Browser): Theme {
  const machine = () => (dark.matches ? "dark" : "light");
  let chosen: string | null = null;
  try {
    chosen = storage?.getItem(KEY) ?? null;
  } catch {
    // Storage that is denied is storage that is empty.
  }
  const shown = signal<"light" | "dark">(chosen === "light" || chosen === "dark" ? chosen : machine());
  const apply = () => {
    if (shown.value === machine()) delete root.dataset.theme;
    else root.dataset.theme = shown.value;
  };
  apply();
  dark.addEventListener("change", () => {
    if (root.dataset.theme === undefined || shown.value === machine()) shown.value = machine();
    apply();
  });
  return {
    shown,
    toggle() {
      shown.value = shown.value === "dark" ? "light" : "dark";
      apply();
      try {
        if (shown.value === machine()) storage?.removeItem(KEY);
        else storage?.setItem(KEY, shown.value);
      } catch {
        // The choice then lasts as long as the page.
      }
    },
  };
}

import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export interface MenuEntry {
  words: string;
  icon: JSX.Element;
  danger?: boolean;
  choose: () => void;
}

interface Props {
  label: string;
  /** The button that opened the menu. It stands beside it, and gets the focus back. */
  anchor: HTMLElement;
  entries: readonly MenuEntry[];
  onClose: () => void;
}

/** A menu in the top layer. Arrow keys move, Escape or a press elsewhere closes. */
export function Menu({ label, anchor, entries, onClose }: Props) {
  const ref = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const menu = ref.current;
    if (menu === null) return;
    menu.showPopover?.();
    place(menu, anchor.getBoundingClientRect());
    buttons(menu)[0]?.focus();
    const outside = (event: PointerEvent) => {
      if (event.target instanceof Node && !menu.contains(event.target) && !anchor.contains(event.target))
        onClose();
    };
    document.addEventListener("pointerdown", outside);
    window.addEventListener("resize", onClose);
    return () => {
      document.removeEventListener("pointerdown", outside);
      window.removeEventListener("resize", onClose);
    };
  }, [anchor]);
  const onKeyDown = (event: KeyboardEvent) => {
    const all = buttons(ref.current);
    const at = all.indexOf(document.activeElement as HTMLButtonElement);
    const move = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 }[event.key];
    if (move !== undefined) {
      event.preventDefault();
      all[move % all.length]?.focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
      event.preventDefault();
      event.stopPropagation();
      onClose();
      anchor.focus();
    }
  };
  return (
    <div
      ref={ref}
      class="menu"
      role="menu"
      tabIndex={-1}
      popover="manual"
      aria-label={label}
      onKeyDown={onKeyDown}
    >
      {entries.map((entry) => (
        <button
          key={entry.words}
          type="button"
          role="menuitem"
          tabIndex={-1}
          class={entry.danger ? "danger" : undefined}
          onClick={() => {
            onClose();
            anchor.focus();
            entry.choose();
          }}
        >
          {entry.icon}
          {entry.words}
        </button>
      ))}
    </div>
  );
}

function buttons(menu: HTMLElement | null): HTMLButtonElement[] {
  return menu === null ? [] : [...menu.querySelectorAll("button")];
}

function place(menu: HTMLElement, anchor: DOMRect): void {
  const box = menu.getBoundingClientRect();
  const below = anchor.bottom + 4;
  const top = below + box.height > window.innerHeight ? anchor.top - box.height - 4 : below;
  const left = Math.min(anchor.left, window.innerWidth - box.width - 8);
  menu.style.top = `${Math.max(8, top)}px`;
  menu.style.left = `${Math.max(8, left)}px`;
}

import type { ComponentChildren } from "preact";

interface Props {
  /** The words of the button. They are its name and its hint. */
  label: string;
  onClick: (event: MouseEvent) => void;
  children: ComponentChildren;
  small?: boolean | undefined;
  disabled?: boolean | undefined;
  expanded?: boolean | undefined;
  /** Whether a button that stays down is down. */
  pressed?: boolean | undefined;
  popup?: "menu" | undefined;
  /** Marks the button for those that press it by a key. */
  mark?: `data-${string}` | undefined;
}

export function IconButton({
  label,
  onClick,
  children,
  small,
  disabled,
  expanded,
  pressed,
  popup,
  mark,
}: Props) {
  return (
    <button
      type="button"
      class={small ? "icon-button small" : "icon-button"}
      aria-label={label}
      title={label}
      disabled={disabled}
      aria-expanded={expanded}
      aria-pressed={pressed}
      aria-haspopup={popup}
      onClick={onClick}
      {...(mark === undefined ? {} : { [mark]: "" })}
    >
      {children}
    </button>
  );
}

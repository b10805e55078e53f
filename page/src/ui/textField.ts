/** Give a text field the height of its text, within the bounds of its style. */
export function growToFit(area: HTMLTextAreaElement): void {
  area.style.height = "auto";
  const border = area.offsetHeight - area.clientHeight;
  if (area.scrollHeight > 0) area.style.height = `${area.scrollHeight + border}px`;
}

type Pressed = Pick<
  KeyboardEvent,
  "key" | "shiftKey" | "altKey" | "ctrlKey" | "metaKey" | "isComposing" | "keyCode"
>;

/**
 * Whether a key press sends the message: Enter, but not the Enter that ends a composition of an input method. Safari
 * reports that one after the composition, with the key code 229.
 */
export function isSendKey(event: Pressed): boolean {
  return (
    event.key === "Enter" && !event.shiftKey && !event.altKey && !event.isComposing && event.keyCode !== 229
  );
}

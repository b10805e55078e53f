/**
 * Put the focus where the reader goes on, after what had it is gone: the message field, or on phones, where it would
 * open the keyboard, the conversation.
 */
export function focusConversation(): void {
  const phone = window.matchMedia("(hover: none)").matches;
  document
    .getElementById(phone ? "conversation" : "message")
    ?.focus({ preventScroll: true, focusVisible: !phone });
}

/**
 * Give the focus to what is drawn next, unless the reader has gone on meanwhile: a busy page draws late, and whoever
 * types by then must not find their keys on a button.
 */
export function focusWhenDrawn(find: () => HTMLElement | null | undefined): void {
  const before = document.activeElement;
  requestAnimationFrame(() => {
    const now = document.activeElement;
    if (now === before || now === document.body) find()?.focus();
  });
}

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

/** The addresses within the page: `#/c/{id}` is a conversation, and everything else a new one. */

/** The id of the conversation that an address names. */
export function conversationIn(hash: string): string | null {
  const match = /^\/c\/([^/]{1,1000})$/.exec(hash);
  if (match?.[1] === undefined) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return null;
  }
}

/** The address of a conversation, without `#`. */
export function addressOfConversation(id: string | null): string {
  return id === null ? "" : `/c/${encodeURIComponent(id)}`;
}

const KEY = "graph-agent.drafts";
const MOST_DRAFTS = 20;
const MOST_CHARACTERS = 20_000;

export interface Drafts {
  read(conversation: string | null): string;
  write(conversation: string | null, text: string): void;
}

/** Messages that were begun and not sent, one a conversation. The oldest make room for new ones. */
export function createDrafts(storage: Pick<Storage, "getItem" | "setItem"> | null): Drafts {
  const load = (): [string, string][] => {
    try {
      const kept: unknown = JSON.parse(storage?.getItem(KEY) ?? "[]");
      if (!Array.isArray(kept)) return [];
      return kept.filter(
        (entry) => Array.isArray(entry) && entry.length === 2 && entry.every((x) => typeof x === "string"),
      );
    } catch {
      return [];
    }
  };
  const drafts = new Map(load());
  return {
    read: (conversation) => drafts.get(conversation ?? "") ?? "",
    write(conversation, text) {
      const key = conversation ?? "";
      if ((drafts.get(key) ?? "") === text) return;
      drafts.delete(key);
      if (text !== "") drafts.set(key, text.slice(0, MOST_CHARACTERS));
      for (const oldest of drafts.keys()) {
        if (drafts.size <= MOST_DRAFTS) break;
        drafts.delete(oldest);
      }
      try {
        storage?.setItem(KEY, JSON.stringify([...drafts]));
      } catch {
        // Without storage the drafts last as long as the page.
      }
    },
  };
}

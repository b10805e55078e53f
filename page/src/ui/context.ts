import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Chat } from "../conversation/model";
import type { DecisionDrafts } from "./approvals/drafts";
import type { Trays } from "./attachments/tray";
import type { Drafts } from "./drafts";
import type { Theme } from "./theme";

/** What every part of the view may need. */
export interface PageContext {
  chat: Chat;
  theme: Theme;
  drafts: Drafts;
  /** Decisions that wait for the others. */
  decisions: DecisionDrafts;
  /** Images and files that are not sent. */
  trays: Trays;
  /** Let a screen reader say something, when it has finished what it is saying. */
  announce(words: string): void;
}

const Context = createContext<PageContext | null>(null);

export const PageProvider = Context.Provider;

export function usePage(): PageContext {
  const page = useContext(Context);
  if (page === null) throw new Error("This component stands outside of <PageProvider>.");
  return page;
}

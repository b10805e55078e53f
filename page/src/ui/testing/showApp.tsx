import { cleanup, render, screen } from "@testing-library/preact";
import { App } from "../App";
import { createDecisionDrafts, type DecisionDrafts } from "../approvals/drafts";
import { createDrafts, type Drafts } from "../drafts";
import { createTheme } from "../theme";
import type { FakeChat } from "./fakeChat";

/** Show the whole page for a chat. */
export function showApp(
  chat: FakeChat,
  drafts: Drafts = createDrafts(null),
  decisions: DecisionDrafts = createDecisionDrafts(null),
) {
  cleanup();
  const dark = { matches: false, addEventListener: () => {} } as unknown as MediaQueryList;
  const theme = createTheme({ storage: null, dark, root: document.documentElement });
  return render(<App chat={chat} theme={theme} drafts={drafts} decisions={decisions} />);
}

export const button = (name: string | RegExp) => screen.getByRole("button", { name });

export const field = (name: string | RegExp) => screen.getByRole<HTMLTextAreaElement>("textbox", { name });

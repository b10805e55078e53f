import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Chat } from "../conversation/model";
import { applyAccent } from "./accent";
import { announceAnswers } from "./announcements";
import type { DecisionDrafts } from "./approvals/drafts";
import { Trays } from "./attachments/tray";
import { type PageContext, PageProvider } from "./context";
import { SignIn } from "./dialogs/SignIn";
import type { Drafts } from "./drafts";
import { Shell } from "./Shell";
import type { Theme } from "./theme";

interface Props {
  chat: Chat;
  theme: Theme;
  drafts: Drafts;
  decisions: DecisionDrafts;
}

/** The whole page. */
export function App({ chat, theme, drafts, decisions }: Props) {
  const announcement = useSignal("");
  const page = useMemo<PageContext>(
    () => ({
      chat,
      theme,
      drafts,
      decisions,
      trays: new Trays(),
      announce(words) {
        announcement.value = words;
      },
    }),
    [chat, theme, drafts, decisions],
  );
  const main = useRef<HTMLElement>(null);
  useEffect(() => announceAnswers(chat, announcement), [chat]);
  // What was said does not stay, or somebody who reads the page line by line would come upon it.
  useSignalEffect(() => {
    if (announcement.value === "") return;
    const timer = setTimeout(() => {
      announcement.value = "";
    }, 2000);
    return () => clearTimeout(timer);
  });
  useSignalEffect(() => applyAccent(document.documentElement, chat.settings.value));
  return (
    <PageProvider value={page}>
      <Shell mainRef={main} />
      <p class="unseen" role="status" aria-live="polite" aria-atomic="true">
        {announcement}
      </p>
      {chat.signIn.value !== "ready" && <SignIn />}
    </PageProvider>
  );
}

/** The composition root of the page: the only module that knows the state and the view. */

import { render } from "preact";
import { createChat } from "./conversation/chat";
import { App } from "./ui/App";
import { createDecisionDrafts } from "./ui/approvals/drafts";
import { createDrafts } from "./ui/drafts";
import { createTheme } from "./ui/theme";
import "./styles/page.css";

/** Storage that the browser denies is storage that is not there. */
function storageOrNull(kind: "localStorage" | "sessionStorage"): Storage | null {
  try {
    return window[kind];
  } catch {
    return null;
  }
}

const root = document.getElementById("app");
if (root !== null) {
  const storage = storageOrNull("localStorage");
  const theme = createTheme({
    storage,
    dark: window.matchMedia("(prefers-color-scheme: dark)"),
    root: document.documentElement,
  });
  const decisions = createDecisionDrafts(storageOrNull("sessionStorage"));
  render(
    <App chat={createChat()} theme={theme} drafts={createDrafts(storage)} decisions={decisions} />,
    root,
  );
}

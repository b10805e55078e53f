/** The composition root of the page: the only module that knows the state and the view. */

import { render } from "preact";
import { createChat } from "./conversation/chat";
import { App } from "./ui/App";
import { createDrafts } from "./ui/drafts";
import { createTheme } from "./ui/theme";
import "./styles/page.css";

/** Storage that the browser denies is storage that is not there. */
function localStorageOrNull(): Storage | null {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

const root = document.getElementById("app");
if (root !== null) {
  const storage = localStorageOrNull();
  const theme = createTheme({
    storage,
    dark: window.matchMedia("(prefers-color-scheme: dark)"),
    root: document.documentElement,
  });
  render(<App chat={createChat()} theme={theme} drafts={createDrafts(storage)} />, root);
}

import type { Ref } from "preact";
import { Brand } from "../Brand";
import { usePage } from "../context";
import { IconButton } from "../IconButton";
import { DataIcon, KeyboardIcon, MoonIcon, NewIcon, SearchIcon, SidebarIcon, SunIcon } from "../Icons";
import { ConversationList } from "./ConversationList";

interface Props {
  shown: boolean;
  searchRef: Ref<HTMLInputElement>;
  onHide: () => void;
  onNew: () => void;
  /** Called when the reader has chosen a conversation. */
  onOpened: () => void;
  onShortcuts: () => void;
  onData: () => void;
}

export function Sidebar({ shown, searchRef, onHide, onNew, onOpened, onShortcuts, onData }: Props) {
  const { chat, theme } = usePage();
  const dark = theme.shown.value === "dark";
  return (
    <nav class="side" aria-label="Conversations" hidden={!shown}>
      <div class="bar">
        <div class="grow">
          <Brand />
        </div>
        <IconButton label="Hide the conversations" expanded onClick={onHide}>
          <SidebarIcon />
        </IconButton>
      </div>
      <div class="side-tools">
        <button type="button" class="button" onClick={onNew}>
          <NewIcon />
          New chat
        </button>
        <search class="search">
          <SearchIcon />
          <input
            ref={searchRef}
            class="field"
            type="search"
            aria-label="Search conversations by title"
            placeholder="Search titles"
            maxLength={200}
            autocomplete="off"
            dir="auto"
            value={chat.conversations.query}
            onInput={(event) => chat.conversations.search(event.currentTarget.value)}
          />
        </search>
      </div>
      <ConversationList onOpened={onOpened} />
      <div class="side-foot">
        <IconButton label={dark ? "Use light colors" : "Use dark colors"} onClick={theme.toggle}>
          {dark ? <SunIcon /> : <MoonIcon />}
        </IconButton>
        <IconButton label="Keyboard shortcuts" onClick={onShortcuts}>
          <KeyboardIcon />
        </IconButton>
        <IconButton label="Data and memory" onClick={onData}>
          <DataIcon />
        </IconButton>
      </div>
    </nav>
  );
}

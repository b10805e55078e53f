import { useComputed, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Attachment } from "../conversation/model";
import { Composer } from "./Composer";
import { usePage } from "./context";
import { DataDialog } from "./dialogs/DataDialog";
import { Dialog } from "./dialogs/Dialog";
import { ShortcutsDialog } from "./dialogs/ShortcutsDialog";
import { failureWords } from "./failures";
import { focusWhenDrawn } from "./focus";
import { GraphPicture } from "./graph/GraphPicture";
import { Header } from "./Header";
import { IconButton } from "./IconButton";
import { CloseIcon } from "./Icons";
import { type Command, commandOf } from "./shortcuts";
import { titleOf } from "./sidebar/ConversationRow";
import { Sidebar } from "./sidebar/Sidebar";
import { Thread } from "./thread/Thread";

const WIDE = "(min-width: 1100px)";
const PHONE = "(max-width: 720px)";

const isWide = () => window.matchMedia(WIDE).matches;
const isPhone = () => window.matchMedia(PHONE).matches;
const isMac = () => /Mac|iPhone|iPad/.test(navigator.platform);

/** The regions of the page: conversations beside the chat, or above it on phones. */
export function Shell({ mainRef }: { mainRef: RefObject<HTMLElement | null> }) {
  const { chat, drafts, theme, trays, announce } = usePage();
  const phone = useSignal(isPhone());
  const sidebar = useSignal(!phone.value);
  const shortcuts = useSignal(false);
  const data = useSignal(false);
  const graph = useSignal(false);
  const wide = useSignal(isWide());
  const failure = useSignal<string | null>(null);
  const search = useRef<HTMLInputElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const open = chat.open.value;
  const id = open.id.value;

  useEffect(() => {
    const query = window.matchMedia(PHONE);
    const changed = () => {
      phone.value = query.matches;
      sidebar.value = !query.matches;
    };
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);

  const toggleGraph = () => {
    wide.value = isWide();
    graph.value = !graph.value;
  };

  const title = chat.settings.value.title;
  // Computed apart, because the list changes more often than the name.
  const name = useComputed(() => {
    const { pinned, entries } = chat.conversations;
    const shown = chat.open.value.id.value;
    const conversation = [...pinned.value, ...entries.value].find((one) => one.id === shown);
    return conversation === undefined ? "New chat" : titleOf(conversation);
  }).value;
  useEffect(() => {
    document.title = id === null ? title : `${name} – ${title}`;
  }, [id, name, title]);

  // On phones the focus would open the keyboard over what the reader came for.
  useEffect(() => {
    failure.value = null;
    if (!phone.peek()) field.current?.focus({ preventScroll: true });
  }, [open]);

  const hideSidebar = () => {
    sidebar.value = false;
    focusWhenDrawn(() => document.querySelector<HTMLElement>("[data-show-sidebar]"));
  };
  const showSidebar = () => {
    sidebar.value = true;
    focusWhenDrawn(() => search.current);
  };
  const opened = () => {
    if (phone.value) sidebar.value = false;
  };
  const begin = () => {
    opened();
    void chat.show(null);
    if (!phone.value) field.current?.focus();
  };
  const unsent = (
    error: unknown,
    text: string,
    attachments: readonly Attachment[],
    to = chat.open.peek(),
  ) => {
    if (to !== chat.open.peek()) {
      // The reader has gone to another conversation, and finds the text in the field of this one.
      if (drafts.read(to.id.peek()) === "") drafts.write(to.id.peek(), text);
      return;
    }
    failure.value = `The message was not sent. ${failureWords(error, "Check your connection and try again.")}`;
    const tray = trays.of(chat.open.peek().id.peek());
    if (tray.entries.peek().length === 0) tray.entries.value = attachments;
    const area = field.current;
    if (area === null || area.value !== "") return;
    area.value = text;
    area.dispatchEvent(new InputEvent("input", { bubbles: true }));
  };
  const send = (text: string, attachments: readonly Attachment[] = []) => {
    failure.value = null;
    // A conversation that is not there cannot go on.
    if (open.problem.peek()?.retryable === false) void chat.show(null);
    chat.open
      .peek()
      .send(text, attachments)
      .catch((error: unknown) => unsent(error, text, attachments));
  };
  const say = (text: string, attachments: readonly Attachment[]) => {
    failure.value = null;
    open
      .say(text, attachments)
      .then(() => announce("The message waits for the assistant's next step."))
      .catch((error: unknown) => unsent(error, text, attachments, open));
  };
  const editLast = () => {
    const buttons = mainRef.current?.querySelectorAll<HTMLElement>("[data-edit]") ?? [];
    buttons[buttons.length - 1]?.click();
  };
  const run: Record<Command, () => void> = {
    new: begin,
    search: showSidebar,
    sidebar: () => (sidebar.value ? hideSidebar() : showSidebar()),
    theme: theme.toggle,
    shortcuts: () => {
      shortcuts.value = true;
    },
  };
  const drawer = phone.value && sidebar.value;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (drawer && event.key === "Escape" && !event.defaultPrevented) hideSidebar();
      const command = document.querySelector("dialog[open]") === null ? commandOf(event, isMac()) : null;
      if (command === null) return;
      event.preventDefault();
      run[command]();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  });

  return (
    <div class="shell">
      <button type="button" class="unseen skip" onClick={() => field.current?.focus()}>
        Skip to the message field
      </button>
      <Sidebar
        shown={sidebar.value}
        searchRef={search}
        onHide={hideSidebar}
        onNew={begin}
        onOpened={opened}
        onShortcuts={() => {
          shortcuts.value = true;
        }}
        onData={() => {
          data.value = true;
        }}
      />
      {drawer && <button type="button" class="veil" tabIndex={-1} aria-hidden="true" onClick={hideSidebar} />}
      <div class="main" inert={drawer}>
        <Header
          sidebarShown={sidebar.value}
          onShowSidebar={showSidebar}
          onNew={begin}
          graphShown={graph.value}
          onGraph={toggleGraph}
        />
        <main ref={mainRef} class="main">
          <h1 class="unseen">{name}</h1>
          <Thread open={open} onSend={send} />
          <Composer
            open={open}
            field={field}
            failure={failure}
            onSend={send}
            onSay={say}
            onEditLast={editLast}
          />
        </main>
      </div>
      {graph.value && wide.value && (
        <aside class="graph-panel" aria-labelledby="graph-title">
          <div class="bar">
            <h2 id="graph-title">Graph</h2>
            <IconButton label="Close the graph" onClick={toggleGraph}>
              <CloseIcon />
            </IconButton>
          </div>
          <div class="graph-scroll">
            <GraphPicture />
          </div>
        </aside>
      )}
      {graph.value && !wide.value && (
        <Dialog title="Graph" onClose={toggleGraph}>
          <GraphPicture />
          <div class="buttons">
            <button type="button" class="button" onClick={toggleGraph}>
              Close
            </button>
          </div>
        </Dialog>
      )}
      {data.value && (
        <DataDialog
          onOpened={opened}
          onClose={() => {
            data.value = false;
          }}
        />
      )}
      {shortcuts.value && (
        <ShortcutsDialog
          mac={isMac()}
          onClose={() => {
            shortcuts.value = false;
          }}
        />
      )}
    </div>
  );
}

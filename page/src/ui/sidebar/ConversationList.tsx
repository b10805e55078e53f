import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Conversation } from "../../api/wire";
import { usePage } from "../context";
import { ConfirmDialog } from "../dialogs/ConfirmDialog";
import { failureWords } from "../failures";
import { focusWhenDrawn } from "../focus";
import { DeleteIcon, EditIcon, PinIcon } from "../Icons";
import { Menu } from "../Menu";
import { type RowActions, titleOf } from "./ConversationRow";
import { ConversationRows } from "./ConversationRows";
import { groupByDay } from "./days";

export function ConversationList({ onOpened }: { onOpened: () => void }) {
  const { chat, announce } = usePage();
  const list = chat.conversations;
  const scroller = useRef<HTMLDivElement>(null);
  const menu = useSignal<{ conversation: Conversation; anchor: HTMLElement } | null>(null);
  const renaming = useSignal<string | null>(null);
  const deleting = useSignal<Conversation | null>(null);
  const failure = useSignal<string | null>(null);
  const currentId = chat.open.value.id.value;

  const groups = useComputed(() => {
    const pinned = list.pinned.value;
    const ids = new Set(pinned.map((c) => c.id));
    const others = list.entries.value.filter((c) => !ids.has(c.id));
    const days = groupByDay(others, new Date());
    return pinned.length > 0 ? [{ name: "Pinned", entries: [...pinned] }, ...days] : days;
  });

  const attempt = async (what: string, work: Promise<void>, done: string) => {
    failure.value = null;
    try {
      await work;
      announce(done);
    } catch (error) {
      failure.value = `${what} ${failureWords(error, "Try again.")}`;
      announce(failure.value);
    }
  };
  const opened = useRef(onOpened);
  opened.current = onOpened;
  const actions = useMemo<RowActions>(
    () => ({
      open: (id) => {
        opened.current();
        void chat.show(id);
      },
      menu: (chosen, anchor) => {
        menu.value = menu.peek()?.conversation.id === chosen.id ? null : { conversation: chosen, anchor };
      },
      renamed: (conversation, title) => {
        renaming.value = null;
        focusRow(scroller.current, conversation.id);
        if (title === null) return;
        const renames = list.rename(conversation.id, title);
        void attempt("The conversation was not renamed.", renames, "Renamed.");
      },
    }),
    [chat],
  );
  const remove = (conversation: Conversation) => {
    const was = currentId === conversation.id;
    scroller.current?.focus();
    void attempt("The conversation was not deleted.", list.remove(conversation.id), "Deleted.");
    if (was) void chat.show(null);
  };

  const shown = menu.value;
  const doomed = deleting.value;
  const empty = groups.value.length === 0;
  return (
    <div class="conversations" ref={scroller} tabIndex={-1}>
      {failure.value !== null && <p class="conversations-note form-error at-top">{failure.value}</p>}
      {groups.value.map((group) => (
        <section key={group.name} aria-label={group.name}>
          <h2>{group.name}</h2>
          <ConversationRows
            entries={group.entries}
            current={currentId}
            renaming={renaming.value}
            menu={shown?.conversation.id ?? null}
            actions={actions}
          />
        </section>
      ))}
      {empty && !list.loading.value && list.problem.value === null && (
        <p class="conversations-note">
          {list.query.value === "" ? "Your conversations will be here." : "No title has these words."}
        </p>
      )}
      {list.problem.value !== null && (
        <p class="conversations-note form-error">{list.problem.value.message}</p>
      )}
      {list.loading.value && (
        <p class="conversations-note">
          <span class="spinner" /> Loading …
        </p>
      )}
      {list.hasMore.value && !list.loading.value && <More onMore={() => void list.more()} />}
      {shown !== null && (
        <Menu
          label={titleOf(shown.conversation)}
          anchor={shown.anchor}
          onClose={() => {
            menu.value = null;
          }}
          entries={[
            {
              words: "Rename",
              icon: <EditIcon />,
              choose: () => {
                renaming.value = shown.conversation.id;
              },
            },
            isPinned(shown.conversation)
              ? { words: "Unpin", icon: <PinIcon />, choose: () => pin(shown.conversation, false) }
              : { words: "Pin", icon: <PinIcon />, choose: () => pin(shown.conversation, true) },
            {
              words: "Delete",
              icon: <DeleteIcon />,
              danger: true,
              choose: () => {
                deleting.value = shown.conversation;
              },
            },
          ]}
        />
      )}
      {doomed !== null && (
        <ConfirmDialog
          title="Delete this conversation?"
          words={`“${titleOf(doomed)}” and all its answers will be deleted. This cannot be undone.`}
          confirm="Delete"
          onConfirm={() => remove(doomed)}
          onClose={() => {
            deleting.value = null;
          }}
        />
      )}
    </div>
  );

  function isPinned(conversation: Conversation): boolean {
    return list.pinned.value.some((c) => c.id === conversation.id);
  }

  function pin(conversation: Conversation, pinned: boolean): void {
    void attempt(
      pinned ? "The conversation was not pinned." : "The conversation is still pinned.",
      list.pin(conversation.id, pinned),
      pinned ? "Pinned." : "Unpinned.",
    );
  }
}

function focusRow(scroller: HTMLElement | null, id: string): void {
  // The row is drawn again first.
  focusWhenDrawn(() => scroller?.querySelector<HTMLElement>(`a[href="#/c/${CSS.escape(id)}"]`));
}

/** Loads the next entries when the reader comes near, and when it is pressed. */
function More({ onMore }: { onMore: () => void }) {
  const ref = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const button = ref.current;
    if (button === null || typeof IntersectionObserver === "undefined") return;
    const observer = new IntersectionObserver((seen) => {
      if (seen.some((entry) => entry.isIntersecting)) onMore();
    });
    observer.observe(button);
    return () => observer.disconnect();
  }, []);
  return (
    <button ref={ref} type="button" class="text-button" onClick={onMore}>
      Show more
    </button>
  );
}

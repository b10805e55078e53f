import { useLayoutEffect, useRef } from "preact/hooks";
import type { Conversation } from "../../api/wire";
import { remembered } from "../../remembered";
import { IconButton } from "../IconButton";
import { MoreIcon } from "../Icons";

export function titleOf(conversation: Pick<Conversation, "title">): string {
  return conversation.title?.trim() || "New conversation";
}

/** The same object for all rows, and for as long as the list is shown. */
export interface RowActions {
  open: (id: string) => void;
  menu: (conversation: Conversation, anchor: HTMLElement) => void;
  /** Called with the new title, or with `null` to keep the old one. */
  renamed: (conversation: Conversation, title: string | null) => void;
}

interface Props {
  conversation: Conversation;
  current: boolean;
  renaming: boolean;
  menuOpen: boolean;
  actions: RowActions;
}

export const ConversationRow = remembered(
  Row,
  (one: Props, other: Props) =>
    one.conversation === other.conversation &&
    one.current === other.current &&
    one.renaming === other.renaming &&
    one.menuOpen === other.menuOpen &&
    one.actions === other.actions,
);

function Row({ conversation, current, renaming, menuOpen, actions }: Props) {
  const title = titleOf(conversation);
  if (renaming) {
    return (
      <li class="conversation">
        <TitleField title={title} onDone={(renamed) => actions.renamed(conversation, renamed)} />
      </li>
    );
  }
  return (
    <li class="conversation">
      <a
        href={`#/c/${conversation.id}`}
        aria-current={current ? "page" : undefined}
        title={title}
        dir="auto"
        onClick={(event) => {
          // With Ctrl and the like the browser opens a tab, as for any link.
          if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
          event.preventDefault();
          actions.open(conversation.id);
        }}
      >
        {title}
      </a>
      <IconButton
        small
        label={`More about “${title}”`}
        popup="menu"
        expanded={menuOpen}
        onClick={(event) => actions.menu(conversation, event.currentTarget as HTMLElement)}
      >
        <MoreIcon />
      </IconButton>
    </li>
  );
}

function TitleField({ title, onDone }: { title: string; onDone: (title: string | null) => void }) {
  const ref = useRef<HTMLInputElement>(null);
  const finished = useRef(false);
  useLayoutEffect(() => ref.current?.select(), []);
  const finish = (save: boolean) => {
    if (finished.current) return;
    finished.current = true;
    const text = ref.current?.value.trim() ?? "";
    onDone(save && text !== "" && text !== title ? text : null);
  };
  return (
    <input
      ref={ref}
      class="field"
      aria-label="Title of the conversation"
      defaultValue={title}
      maxLength={200}
      dir="auto"
      onBlur={() => finish(true)}
      onKeyDown={(event) => {
        if (event.isComposing) return;
        if (event.key === "Enter") finish(true);
        if (event.key === "Escape") {
          event.stopPropagation();
          finish(false);
        }
      }}
    />
  );
}

import type { Conversation } from "../../api/wire";
import { remembered } from "../../remembered";
import { ConversationRow, type RowActions } from "./ConversationRow";

/** As many rows are one list. `sidebar.css` knows how high that is. */
export const ROWS = 50;

interface Props {
  entries: readonly Conversation[];
  /** The ids of the rows that look different, wherever they are. */
  current: string | null;
  renaming: string | null;
  menu: string | null;
  actions: RowActions;
}

/** Lists of at most `ROWS` conversations. Lists that are out of sight are not laid out. */
export function ConversationRows(props: Props) {
  const lists: (readonly Conversation[])[] = [];
  for (let at = 0; at < props.entries.length; at += ROWS) lists.push(props.entries.slice(at, at + ROWS));
  return (
    <>
      {lists.map((entries, at) => {
        const mine = (id: string | null) => (entries.some((one) => one.id === id) ? id : null);
        return (
          <Rows
            key={at}
            entries={entries}
            current={mine(props.current)}
            renaming={mine(props.renaming)}
            menu={mine(props.menu)}
            actions={props.actions}
          />
        );
      })}
    </>
  );
}

// Of 1,000 rows, only a list in which something has changed is shown again.
const Rows = remembered(
  ({ entries, current, renaming, menu, actions }: Props) => (
    <ul class={entries.length === ROWS ? "full" : undefined}>
      {entries.map((conversation) => (
        <ConversationRow
          key={conversation.id}
          conversation={conversation}
          current={conversation.id === current}
          renaming={conversation.id === renaming}
          menuOpen={conversation.id === menu}
          actions={actions}
        />
      ))}
    </ul>
  ),
  (one: Props, other: Props) =>
    one.current === other.current &&
    one.renaming === other.renaming &&
    one.menu === other.menu &&
    one.actions === other.actions &&
    one.entries.length === other.entries.length &&
    one.entries.every((entry, at) => entry === other.entries[at]),
);

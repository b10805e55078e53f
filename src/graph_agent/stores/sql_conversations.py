"""The statements behind `ResponseStore`, for SQLite and PostgreSQL: conversations, deletion and expiry."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from graph_agent.errors import ItemNotFound
from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection
from graph_agent.stores.records import Conversation, Item, Page, StoredResponse
from graph_agent.stores.sql_paging import Order, rows_of_page
from graph_agent.stores.sql_responses import (
    ADD_RESPONSE,
    SqlResponses,
    conversation_busy,
    conversation_not_found,
    end_lost,
    response_not_found,
)
from graph_agent.stores.sql_rows import (
    CONVERSATION,
    INPUT,
    ITEMS,
    RESPONSES,
    UNDER_WAY,
    WITH_RESPONSE,
    WITHOUT_RESPONSE,
    Row,
    as_json,
    as_sought,
    as_title,
    insert,
    is_pinned,
    item_rows,
    stored_conversation,
    stored_response,
)
from graph_agent.stores.sql_runs import DELETABLE, delete_runs

MOST_SEARCHED = 10_000
"""Conversations of an owner that a search looks through, the newest ones. It reads each of them."""

AMONG_THE_NEWEST = (
    " AND updated_at >= COALESCE("
    "(SELECT updated_at FROM conversations WHERE owner = ? ORDER BY updated_at DESC LIMIT 1 OFFSET ?), 0)"
)

EXPIRED_AT_ONCE = 20
"""Conversations that are deleted in one transaction of `expire`, so that no run waits long for it."""


class SqlConversations(SqlResponses):
    """A `ResponseStore` in a SQL database."""

    async def delete(self, owner: Owner, response_id: str) -> None:
        """See `ResponseStore.delete`."""
        now = self._clock()

        async def work(connection: Connection) -> None:
            # A run that begins meanwhile waits for this, or this waits for it.
            await connection.run(
                "UPDATE conversations SET updated_at = updated_at WHERE owner = ? "
                "AND id = (SELECT conversation FROM responses WHERE owner = ? AND id = ?)",
                (owner.key, owner.key, response_id),
            )
            found = await connection.rows(
                "SELECT r.conversation, r.parent, c.thread, c.head, c.running, c.busy_until, c.lasting "
                f"FROM {RESPONSES} WHERE r.owner = ? AND r.id = ?",
                (owner.key, response_id),
            )
            if not found:
                raise response_not_found()
            conversation, parent, thread, head, running, busy_until, lasting = found[0]
            if running == response_id:
                run = await connection.rows(
                    "SELECT state FROM runs WHERE owner = ? AND response = ?", (owner.key, response_id)
                )
                if busy_until > now and run != [("parked",)]:
                    raise conversation_busy(running)
                await _release(connection, owner, conversation)
            place = (owner.key, conversation)
            await connection.run(
                "UPDATE responses SET parent = ? WHERE owner = ? AND conversation = ? AND parent = ?",
                (parent, *place, response_id),
            )
            await connection.run("DELETE FROM items WHERE owner = ? AND response = ?", (owner.key, response_id))
            await connection.run("DELETE FROM approvals WHERE owner = ? AND response = ?", (owner.key, response_id))
            await delete_runs(connection, "owner = ? AND response = ?", (owner.key, response_id))
            await connection.run("DELETE FROM responses WHERE owner = ? AND id = ?", (owner.key, response_id))
            # The newest response that has ended comes first.
            left = await connection.rows(
                "SELECT id, status FROM responses WHERE owner = ? AND conversation = ? ORDER BY "
                "CASE WHEN status IN ('queued', 'in_progress') THEN 1 ELSE 0 END, created_at DESC, id DESC LIMIT 1",
                place,
            )
            if not left:
                await self._delete_checkpoints(connection, thread)
                await _empty(connection, owner, conversation, lasting=bool(lasting))
            elif head == response_id:
                newest = left[0][0] if left[0][1] not in UNDER_WAY else None
                await connection.run("UPDATE conversations SET head = ? WHERE owner = ? AND id = ?", (newest, *place))

        await self._database.write(work)

    async def find_conversation(self, owner: Owner, conversation_id: str) -> Conversation | None:
        """See `ResponseStore.find_conversation`."""

        async def work(connection: Connection) -> Conversation | None:
            return await _conversation(connection, owner, conversation_id)

        return await self._database.read(work)

    async def create_conversation(
        self, owner: Owner, conversation_id: str, *, metadata: Mapping[str, str], title: str | None = None
    ) -> Conversation:
        """See `ResponseStore.create_conversation`."""
        now, thread = self._clock(), secrets.token_hex(16)

        async def work(connection: Connection) -> Conversation:
            await connection.run(
                "INSERT INTO conversations (owner, id, thread, title, sought, metadata, pinned, created_at, "
                "updated_at, lasting) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
                (
                    owner.key,
                    conversation_id,
                    thread,
                    as_title(title),
                    as_sought(title),
                    as_json(dict(metadata)),
                    is_pinned(metadata),
                    now,
                    now,
                ),
            )
            return await _existing(connection, owner, conversation_id)

        return await self._database.write(work)

    async def conversations(
        self, owner: Owner, page: Page, *, words: Sequence[str] = (), pinned: bool | None = None
    ) -> tuple[Sequence[Conversation], bool]:
        """See `ResponseStore.conversations`."""
        # A literal and not a parameter: SQLite would not use the index of those that are pinned.
        condition = "" if pinned is None else f"AND pinned = {int(pinned)}"
        parameters: list[Any] = []
        if words:
            condition += AMONG_THE_NEWEST + " AND sought LIKE ? ESCAPE '!'" * len(words)
            parameters += [owner.key, MOST_SEARCHED - 1, *map(_containing, words)]

        async def work(connection: Connection) -> list[Row]:
            return await rows_of_page(
                connection,
                owner,
                page,
                columns=CONVERSATION,
                table="conversations",
                column="updated_at",
                condition=condition,
                parameters=parameters,
            )

        rows = await self._database.read(work)
        return [stored_conversation(row) for row in rows[: page.limit]], len(rows) > page.limit

    async def update_conversation(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        metadata: Mapping[str, str] | None = None,
        title: str | None = None,
    ) -> Conversation:
        """See `ResponseStore.update_conversation`."""
        encoded, pinned = (None, None) if metadata is None else (as_json(dict(metadata)), is_pinned(metadata))

        async def work(connection: Connection) -> Conversation:
            await connection.run(
                "UPDATE conversations SET metadata = COALESCE(?, metadata), pinned = COALESCE(?, pinned), "
                "title = COALESCE(?, title), sought = COALESCE(?, sought) WHERE owner = ? AND id = ?",
                (encoded, pinned, as_title(title), as_sought(title), owner.key, conversation_id),
            )
            return await _existing(connection, owner, conversation_id)

        return await self._database.write(work)

    async def delete_conversation(self, owner: Owner, conversation_id: str) -> None:
        """See `ResponseStore.delete_conversation`."""
        now = self._clock()

        async def work(connection: Connection) -> None:
            if not await self._remove(connection, owner.key, conversation_id, now):
                running, _ = await _lease_state(connection, owner, conversation_id, now)
                # It has ended just now.
                raise conversation_busy(running or "")

        await self._database.write(work)

    async def responses_of(
        self, owner: Owner, conversation_id: str, page: Page
    ) -> tuple[Sequence[StoredResponse], bool]:
        """See `ResponseStore.responses_of`."""
        now = self._clock()

        async def work(connection: Connection) -> Sequence[StoredResponse]:
            await _existing(connection, owner, conversation_id)
            order = Order("responses", "created_at", page, "r.")
            rows = await connection.rows(
                f"SELECT {WITHOUT_RESPONSE} FROM {RESPONSES} WHERE r.owner = ? AND r.conversation = ? "
                f"{order.condition} {order.clause}",
                (owner.key, conversation_id, *order.parameters(owner), page.limit + 1),
            )
            return [stored_response(row, (), now=now) for row in rows]

        found = await self._database.read(work)
        return found[: page.limit], len(found) > page.limit

    async def end_lost(self, owner: Owner, response_id: str) -> bool:
        """See `ResponseStore.end_lost`."""
        now = self._clock()

        async def work(connection: Connection) -> bool:
            freed = await connection.run(
                "UPDATE conversations SET running = NULL, busy_until = NULL "
                "WHERE owner = ? AND running = ? AND busy_until <= ?",
                (owner.key, response_id, now),
            )
            if freed:
                await end_lost(connection, owner, response_id)
                await self._runs.end_lost(connection, owner, response_id)
            return bool(freed)

        return await self._database.write(work)

    async def add_items(self, owner: Owner, conversation_id: str, items: Sequence[Item]) -> StoredResponse:
        """See `ResponseStore.add_items`."""
        now, record = self._clock(), f"items_{secrets.token_hex(16)}"
        rows = item_rows(owner.key, record, INPUT, items)

        async def work(connection: Connection) -> StoredResponse:
            # Locked: a run that begins meanwhile waits for this, and follows the items.
            lost, head = await _lease_state(connection, owner, conversation_id, now, self._database.for_update)
            freed = await connection.run(
                "UPDATE conversations SET head = ?, updated_at = ?, running = NULL, busy_until = NULL "
                "WHERE owner = ? AND id = ? AND (running IS NULL OR busy_until <= ?)",
                (record, now, owner.key, conversation_id, now),
            )
            if not freed:
                raise conversation_busy(lost or "")
            if lost is not None:
                await end_lost(connection, owner, lost)
                await self._runs.end_lost(connection, owner, lost)
            await connection.run(
                f"{ADD_RESPONSE} VALUES (?, ?, ?, ?, 'items', '', 'openai', 'completed', ?)",
                (owner.key, record, conversation_id, head, now),
            )
            await insert(connection, ITEMS, rows)
            added = await connection.rows(
                f"SELECT {WITH_RESPONSE} FROM {RESPONSES} WHERE r.owner = ? AND r.id = ?", (owner.key, record)
            )
            return (await self.with_items(connection, owner, added))[0]

        return await self._database.write(work)

    async def delete_item(self, owner: Owner, conversation_id: str, item_id: str) -> None:
        """See `ResponseStore.delete_item`."""

        async def work(connection: Connection) -> None:
            await _existing(connection, owner, conversation_id)
            gone = await connection.run(
                "DELETE FROM items WHERE owner = ? AND id = ? AND response IN "
                "(SELECT id FROM responses WHERE owner = ? AND conversation = ?)",
                (owner.key, item_id, owner.key, conversation_id),
            )
            if not gone:
                raise ItemNotFound("the conversation has no such item")

        await self._database.write(work)

    async def expire(self, *, idle_since: float) -> int:
        """See `ResponseStore.expire`."""
        expired = 0
        while True:
            now = self._clock()

            async def work(connection: Connection, now: float = now) -> tuple[int, int]:
                found = await connection.rows(
                    f"SELECT owner, id FROM conversations WHERE updated_at < ? AND {DELETABLE} "
                    "ORDER BY updated_at LIMIT ?",
                    (idle_since, now, EXPIRED_AT_ONCE),
                )
                gone = [await self._remove(connection, key[0], key[1], now, idle_since=idle_since) for key in found]
                return len(found), sum(gone)

            found, gone = await self._database.write(work)
            expired += gone
            if found < EXPIRED_AT_ONCE or not gone:
                return expired

    async def _remove(
        self, connection: Connection, owner: str, conversation: str, now: float, *, idle_since: float | None = None
    ) -> bool:
        """Delete a conversation and everything in it, unless a run has begun meanwhile."""
        idle, since = ("", ()) if idle_since is None else ("AND updated_at < ?", (idle_since,))
        key = (owner, conversation)
        gone = await connection.rows(
            f"DELETE FROM conversations WHERE owner = ? AND id = ? AND {DELETABLE} {idle} RETURNING thread",
            (*key, now, *since),
        )
        if not gone:
            return False
        within = "owner = ? AND response IN (SELECT id FROM responses WHERE owner = ? AND conversation = ?)"
        await connection.run(f"DELETE FROM items WHERE {within}", (owner, *key))
        await delete_runs(connection, within, (owner, *key))
        await connection.run("DELETE FROM responses WHERE owner = ? AND conversation = ?", key)
        await connection.run("DELETE FROM approvals WHERE owner = ? AND conversation = ?", key)
        await self._delete_checkpoints(connection, gone[0][0])
        return True


def _containing(word: str) -> str:
    """The pattern of titles that contain a word."""
    escaped = (as_sought(word) or "").replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"


async def _conversation(connection: Connection, owner: Owner, conversation_id: str) -> Conversation | None:
    found = await connection.rows(
        f"SELECT {CONVERSATION} FROM conversations WHERE owner = ? AND id = ?", (owner.key, conversation_id)
    )
    return stored_conversation(found[0]) if found else None


async def _existing(connection: Connection, owner: Owner, conversation_id: str) -> Conversation:
    found = await _conversation(connection, owner, conversation_id)
    if found is None:
        raise conversation_not_found()
    return found


async def _lease_state(
    connection: Connection, owner: Owner, conversation_id: str, now: float, for_update: str = ""
) -> tuple[str | None, str | None]:
    """The response whose lease has expired, if any, and the head. Raises `ConversationBusy` if a run is in progress."""
    found = await connection.rows(
        f"SELECT running, busy_until, head FROM conversations WHERE owner = ? AND id = ? {for_update}",
        (owner.key, conversation_id),
    )
    if not found:
        raise conversation_not_found()
    running, busy_until, head = found[0]
    if running is not None and busy_until > now:
        raise conversation_busy(running)
    return running, head


async def _release(connection: Connection, owner: Owner, conversation_id: str) -> None:
    await connection.run(
        "UPDATE conversations SET running = NULL, busy_until = NULL WHERE owner = ? AND id = ?",
        (owner.key, conversation_id),
    )


async def _empty(connection: Connection, owner: Owner, conversation_id: str, *, lasting: bool) -> None:
    """What remains of a conversation without responses: nothing, unless it was created by a request of its own."""
    key = (owner.key, conversation_id)
    if lasting:
        # The title is from the first message.
        await connection.run(
            "UPDATE conversations SET head = NULL, title = NULL, sought = NULL WHERE owner = ? AND id = ?", key
        )
    else:
        await connection.run("DELETE FROM conversations WHERE owner = ? AND id = ?", key)

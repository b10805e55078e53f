"""The statements behind `Memories`, for SQLite and PostgreSQL."""

import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from graph_agent.errors import MemoryNotFound, MemoryRefused, StoreUnavailable
from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.memory_records import MEMORIES, TEXT, Memory, MemoryChange, MemorySearch, Namespace, Place
from graph_agent.stores.records import Page
from graph_agent.stores.sql_paging import rows_of_page
from graph_agent.stores.sql_rows import Row, as_json, as_title
from graph_agent.stores.vectors import Candidate, Embedder, Ranked, Vectors, best_of
from graph_agent.threads import run_in_service_thread

MOST_BYTES = 65_536
"""The largest value of a memory, as JSON."""

AT_ONCE = 100
"""Memories that a search has in memory at the same time."""

EMBEDDED_AT_ONCE = 16
"""Texts in one request to the embedder."""

MOST_EMBEDDED = 128
"""Texts of one change that are embedded at once. The next searches embed the others."""

MOST_PENDING = 32
"""Texts without a vector that one search embeds. It waits for them."""

REFUSED = b""
"""The vector of a text that the embedder refuses. It is found by its words."""

LONGEST_PLACE = 512
"""Characters of a namespace, and of a key. Indexes of databases have limits."""

OWN_ID = re.compile(r"mem_[0-9a-f]{24}")

MEMORY = "id, namespace, key, value, response, created_at, updated_at"
"""The columns that `_memory` reads."""

SAVE = (
    "INSERT INTO memories (owner, namespace, key, id, value, searched, response, created_at, updated_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (owner, namespace, key) DO UPDATE SET value = excluded.value, "
    "vector = CASE WHEN memories.searched = excluded.searched THEN memories.vector END, "
    "searched = excluded.searched, response = excluded.response, updated_at = excluded.updated_at"
)
"""A text that did not change keeps its vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """How memories are kept."""

    embedder: Embedder | None = None
    """Makes the vectors by which memories are found. `None`: they are found by their words."""

    most: int = 10_000
    """Memories of one owner."""


BY_WORDS = MemoryOptions()


class SqlMemories:
    """`Memories` in a SQL database."""

    def __init__(self, database: Database, *, options: MemoryOptions, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._vectors = Vectors(options.embedder, clock=clock)
        self._most = options.most
        self._clock = clock

    # -- by place, for graphs -----------------------------------------------------------------------------------

    async def read(self, owner: Owner, places: Collection[Place]) -> Mapping[Place, Memory]:
        """See `Memories.read`."""

        columns = [(as_column(namespace), key) for namespace, key in places]
        usable = [(column, key) for column, key in columns if _is_usable(column) and _is_usable(key)]

        async def work(connection: Connection) -> list[Row]:
            found = []
            for place in usable:
                found += await connection.rows(
                    f"SELECT {MEMORY} FROM memories WHERE owner = ? AND namespace = ? AND key = ?", (owner.key, *place)
                )
            return found

        memories = map(_memory, await self._database.read(work)) if usable else ()
        return {(one.namespace, one.key): one for one in memories}

    async def write(self, owner: Owner, changes: Sequence[MemoryChange], *, response: str | None = None) -> None:
        """See `Memories.write`."""
        if not changes:
            return
        now = self._clock()
        rows = [_checked_row(owner, change, response, now) for change in changes]

        async def work(connection: Connection) -> None:
            before = await _count(connection, owner)
            for change, row in zip(changes, rows, strict=True):
                if change.value is None:
                    await connection.run("DELETE FROM memories WHERE owner = ? AND namespace = ? AND key = ?", row[:3])
                else:
                    await connection.run(SAVE, row)
            if await _count(connection, owner) > max(before, self._most):
                raise MemoryRefused(
                    f"the memory is full: it holds {self._most} memories; forget some that are no longer needed"
                )

        await self._database.write(work)
        saved = [(row[1], row[2], row[5]) for row in rows if row[4] is not None and row[5]]
        await self._embed(owner, saved[:MOST_EMBEDDED])

    async def search(self, owner: Owner, sought: MemorySearch) -> Sequence[Memory]:
        """See `Memories.search`."""
        if sought.prefix and not _is_usable(as_column(sought.prefix)):
            return []
        if sought.query is None and sought.accepts is None:
            return await self._newest(owner, sought)
        vector = None if sought.query is None else await self._vector_of(sought.query)
        if vector is not None:
            await self._embed_pending(owner, sought, vector)
        ranked: list[Ranked] = []
        async for some in self._candidates(owner, sought, vector):
            # In a thread: ten thousand vectors take a while.
            ranked = await run_in_service_thread(
                lambda ranked, some: best_of(
                    ranked, some, query=sought.query, vector=vector, most=sought.offset + sought.limit
                ),
                ranked,
                some,
            )
        return await self._of_ranked(owner, ranked[sought.offset :], scored=sought.query is not None)

    async def namespaces(self, owner: Owner) -> Sequence[Namespace]:
        """See `Memories.namespaces`."""

        async def work(connection: Connection) -> list[Row]:
            return await connection.rows("SELECT DISTINCT namespace FROM memories WHERE owner = ?", (owner.key,))

        return sorted(as_namespace(row[0]) for row in await self._database.read(work))

    # -- by id, for the owner -----------------------------------------------------------------------------------

    async def get(self, owner: Owner, memory_id: str) -> Memory:
        """See `Memories.get`."""

        async def work(connection: Connection) -> Memory:
            return await _existing(connection, owner, memory_id)

        return await self._database.read(work)

    async def page(self, owner: Owner, page: Page) -> tuple[Sequence[Memory], bool]:
        """See `Memories.page`."""

        async def work(connection: Connection) -> list[Row]:
            return await rows_of_page(connection, owner, page, columns=MEMORY, table="memories", column="created_at")

        rows = await self._database.read(work)
        return [_memory(row) for row in rows[: page.limit]], len(rows) > page.limit

    async def change(self, owner: Owner, memory_id: str, text: str) -> Memory:
        """See `Memories.change`."""
        now, value, searched = self._clock(), as_json({TEXT: text}), as_title(text)

        async def work(connection: Connection) -> tuple[Memory, bool]:
            before = await _existing(connection, owner, memory_id)
            if set(before.value) != {TEXT}:
                return before, False
            await connection.run(
                "UPDATE memories SET value = ?, vector = CASE WHEN searched = ? THEN vector END, searched = ?, "
                "updated_at = ? WHERE owner = ? AND id = ?",
                (value, searched, searched, now, owner.key, memory_id),
            )
            return await _existing(connection, owner, memory_id), True

        after, changed = await self._database.write(work)
        if not changed:
            raise MemoryRefused("a graph keeps this memory in a form of its own: it can be deleted, and not changed")
        await self._embed(owner, [(as_column(after.namespace), after.key, searched or "")])
        return after

    async def delete(self, owner: Owner, memory_id: str) -> None:
        """See `Memories.delete`."""

        async def work(connection: Connection) -> None:
            if not await connection.run("DELETE FROM memories WHERE owner = ? AND id = ?", (owner.key, memory_id)):
                raise _not_found()

        await self._database.write(work)

    async def delete_all(self, owner: Owner) -> int:
        """See `Memories.delete_all`."""

        async def work(connection: Connection) -> int:
            return await connection.run("DELETE FROM memories WHERE owner = ?", (owner.key,))

        return await self._database.write(work)

    # -- searching ----------------------------------------------------------------------------------------------

    async def _newest(self, owner: Owner, sought: MemorySearch) -> Sequence[Memory]:
        prefix = as_column(sought.prefix)

        async def work(connection: Connection) -> list[Row]:
            return await connection.rows(
                f"SELECT {MEMORY} FROM memories WHERE owner = ? AND substr(namespace, 1, ?) = ? "
                "ORDER BY updated_at DESC, id LIMIT ? OFFSET ?",
                (owner.key, len(prefix), prefix, sought.limit, sought.offset),
            )

        return [_memory(row) for row in await self._database.read(work)]

    async def _candidates(
        self, owner: Owner, sought: MemorySearch, vector: bytes | None
    ) -> AsyncIterator[Sequence[Candidate]]:
        """All memories that may be sought, some at a time, each with its vector or its text."""
        prefix, after = as_column(sought.prefix), ("", "")
        comparable = "embedder = ? AND length(vector) = ?"
        values = "value" if sought.accepts is not None else "NULL"
        size = -1 if vector is None else len(vector)
        name = self._vectors.name or ""
        statement = (
            f"SELECT namespace, key, updated_at, CASE WHEN {comparable} THEN vector END, "
            f"CASE WHEN {comparable} THEN NULL ELSE searched END, {values} FROM memories "
            "WHERE owner = ? AND substr(namespace, 1, ?) = ? AND (namespace, key) > (?, ?) "
            f"{'' if sought.query is None else 'AND searched IS NOT NULL'} ORDER BY namespace, key LIMIT ?"
        )
        while True:
            parameters = (name, size, name, size, owner.key, len(prefix), prefix, *after, AT_ONCE)

            async def work(connection: Connection, parameters: Sequence[Any] = parameters) -> list[Row]:
                return await connection.rows(statement, parameters)

            rows = await self._database.read(work)
            if rows:
                yield await run_in_service_thread(_accepted, rows, sought)
            if len(rows) < AT_ONCE:
                return
            after = rows[-1][0], rows[-1][1]

    async def _of_ranked(self, owner: Owner, ranked: Sequence[Ranked], *, scored: bool) -> Sequence[Memory]:
        places = [(as_namespace(namespace), key) for _, _, (namespace, key) in ranked]
        found = await self.read(owner, places)
        scores = dict(zip(places, (score for score, _, _ in ranked), strict=True))
        # One that was deleted meanwhile is left out.
        return [_scored(found[place], scores[place] if scored else None) for place in places if place in found]

    # -- vectors ------------------------------------------------------------------------------------------------

    async def _vector_of(self, query: str) -> bytes | None:
        try:
            found = await self._vectors.of([query])
        except ValueError:
            return None
        return found[0] if found else None

    async def _embed_pending(self, owner: Owner, sought: MemorySearch, vector: bytes) -> None:
        """Embed some of the memories that have no vector yet, because the embedder was down or is another one now."""
        prefix = as_column(sought.prefix)

        async def work(connection: Connection) -> list[Row]:
            return await connection.rows(
                "SELECT namespace, key, searched FROM memories WHERE owner = ? AND substr(namespace, 1, ?) = ? AND "
                "searched IS NOT NULL AND (vector IS NULL OR embedder <> ? OR length(vector) NOT IN (0, ?)) "
                "ORDER BY updated_at DESC LIMIT ?",
                (owner.key, len(prefix), prefix, self._vectors.name or "", len(vector), MOST_PENDING),
            )

        await self._embed(owner, await self._database.read(work))

    async def _embed(self, owner: Owner, texts: Sequence[Row]) -> None:
        """Store the vectors of texts with their namespaces and keys. What has none now is embedded later."""
        for start in range(0, len(texts), EMBEDDED_AT_ONCE):
            some = texts[start : start + EMBEDDED_AT_ONCE]
            try:
                vectors = await self._vectors.of([row[2] for row in some])
            except ValueError:
                if len(some) > 1:
                    for one in some:
                        await self._embed(owner, [one])
                    continue
                vectors = [REFUSED]
            if vectors is None:
                return
            rows = [
                # The text is compared, because it may have been changed meanwhile.
                (vector, self._vectors.name, owner.key, *row)
                for vector, row in zip(vectors, some, strict=True)
            ]

            async def work(connection: Connection, rows: Sequence[Row] = rows) -> None:
                await connection.run_many(
                    "UPDATE memories SET vector = ?, embedder = ? "
                    "WHERE owner = ? AND namespace = ? AND key = ? AND searched = ?",
                    rows,
                )

            # The memories themselves are stored.
            with contextlib.suppress(StoreUnavailable):
                await self._database.write(work)


def new_memory_id() -> str:
    """An id that nobody can guess."""
    return f"mem_{secrets.token_hex(12)}"


def as_column(namespace: Namespace) -> str:
    """A namespace as it is in the table. Labels have no periods, so that a prefix of it is one of the text."""
    return "".join(f"{label}." for label in namespace)


def as_namespace(column: str) -> Namespace:
    """The namespace of a row."""
    return tuple(column.split(".")[:-1])


def _is_usable(text: str) -> bool:
    """Whether the text can be a namespace or a key. Some databases cannot even look up another one."""
    return 0 < len(text) <= LONGEST_PLACE and text.isprintable()


def _checked_row(owner: Owner, change: MemoryChange, response: str | None, now: float) -> Row:
    """The row of a change, for `SAVE`."""
    namespace, key = change.place
    column = as_column(namespace)
    if not _is_usable(column) or not _is_usable(key):
        raise MemoryRefused(
            f"a namespace and a key of a memory must be printable and have at most {LONGEST_PLACE} characters"
        )
    value = None if change.value is None else as_json(dict(change.value))
    if value is not None and len(value.encode()) > MOST_BYTES:
        raise MemoryRefused(f"the memory is too large: as JSON it may have at most {MOST_BYTES} bytes")
    id_ = key if namespace == MEMORIES and OWN_ID.fullmatch(key) else new_memory_id()
    return owner.key, column, key, id_, value, as_title(change.searched), response, now, now


def _accepted(rows: Sequence[Row], sought: MemorySearch) -> list[Candidate]:
    accepts = sought.accepts
    return [
        Candidate((namespace, key), changed_at, None if vector is None else bytes(vector), text)
        for namespace, key, changed_at, vector, text, value in rows
        if accepts is None or accepts(orjson.loads(value))
    ]


async def _existing(connection: Connection, owner: Owner, memory_id: str) -> Memory:
    found = await connection.rows(f"SELECT {MEMORY} FROM memories WHERE owner = ? AND id = ?", (owner.key, memory_id))
    if not found:
        raise _not_found()
    return _memory(found[0])


async def _count(connection: Connection, owner: Owner) -> int:
    (found,) = await connection.rows("SELECT count(*) FROM memories WHERE owner = ?", (owner.key,))
    count: int = found[0]
    return count


def _memory(row: Row, score: float | None = None) -> Memory:
    id_, namespace, key, value, response, created_at, updated_at = row
    return Memory(
        id=id_,
        namespace=as_namespace(namespace),
        key=key,
        value=orjson.loads(value),
        response=response,
        created_at=created_at,
        updated_at=updated_at,
        score=score,
    )


def _scored(memory: Memory, score: float | None) -> Memory:
    return replace(memory, score=score)


def _not_found() -> MemoryNotFound:
    return MemoryNotFound("there is no such memory: it was deleted, or its id is wrong")

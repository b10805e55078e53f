"""The statements behind `RunStore` for the events of runs, for SQLite and PostgreSQL."""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.packing import pack_lines, unpack_lines
from graph_agent.stores.run_records import EventBatch
from graph_agent.stores.sql_rows import Row, insert

EVENTS_PER_ROW = 200
"""The most events in one row, so that a reader that comes back does not read a whole log for its last event."""

EXPIRED_AT_ONCE = 10
"""The most runs whose events are deleted in one transaction. A long run may have ten thousand rows, and while they are
deleted from a SQLite file nobody writes to it."""

EVENTS = "INSERT INTO events (owner, response, first, body, packed)"
"""What `insert` inserts the rows of `rows_of` with."""

SILENT_SECONDS = 60.0
"""How long after the end of its lease a run in the foreground counts as lost when old events are looked for."""


class SqlEvents:
    """The events of runs. `SqlRuns` adds the runs."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` is that of the leases of conversations."""
        self._database = database
        self._clock = clock

    async def append(self, batches: Sequence[EventBatch]) -> Collection[str]:
        """See `RunStore.append`."""
        # In one order, so that two processes never wait for each other.
        ordered = sorted(batches, key=lambda one: (one.right.owner.key, one.right.response))

        async def work(connection: Connection) -> Collection[str]:
            taken = {one.right.response: await self._take(connection, one) for one in ordered}
            await insert(connection, EVENTS, [row for rows in taken.values() for row in rows or ()])
            await connection.announce([response for response, rows in taken.items() if rows])
            return {response for response, rows in taken.items() if rows is None}

        return await self._database.write(work) if batches else ()

    async def _append(self, connection: Connection, batch: EventBatch) -> bool:
        """Returns whether the right is still there."""
        rows = await self._take(connection, batch)
        await insert(connection, EVENTS, rows or ())
        return rows is not None

    async def _take(self, connection: Connection, batch: EventBatch) -> Sequence[Row] | None:
        """Lock the run and count the events. Returns the rows that are to be inserted, or `None` if the right is lost.

        The answer to an earlier commit of these events, or of some of them, may have been lost with the connection.
        """
        right, last = batch.right, batch.first + len(batch.events)
        key = (right.owner.key, right.response)
        held = "WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running' AND events {} ?"
        if await connection.run(
            f"UPDATE runs SET events = ? {held.format('=')}", (last, *key, right.attempt, batch.first)
        ):
            return rows_of(key, batch.first, batch.events)
        found = await connection.rows(
            f"SELECT events FROM runs {held.format('>=')}", (*key, right.attempt, batch.first)
        )
        if not found:
            return None
        known = found[0][0]
        if known >= last:
            return ()
        return await self._take(
            connection, EventBatch(right=right, first=known, events=batch.events[known - batch.first :])
        )

    async def events(self, owner: Owner, response_id: str, *, after: int, most: int) -> Sequence[bytes]:
        """See `RunStore.events`."""
        key, wanted = (owner.key, response_id), after + 1

        async def work(connection: Connection) -> Sequence[bytes]:
            # From the row that holds the first one.
            rows = await connection.rows(
                "SELECT first, body, packed FROM events WHERE owner = ? AND response = ? AND first >= COALESCE((SELECT "
                "MAX(first) FROM events WHERE owner = ? AND response = ? AND first <= ?), 0) AND first < ? "
                "ORDER BY first",
                (*key, *key, wanted, wanted + most),
            )
            found: list[bytes] = []
            for first, body, packed in rows:
                lines = body.encode().split(b"\n") if packed is None else unpack_lines(packed)
                found += lines[max(wanted - first, 0) :]
            return found

        return await self._database.read(work)

    async def expire_events(self, *, older_seconds: float) -> int:
        """See `RunStore.expire_events`."""
        expired = 0
        while True:
            found = await self._database.read(lambda connection: self._expired(connection, older_seconds))
            if found:
                await self._database.write(partial(self._expire, runs=found))
            expired += len(found)
            if len(found) < EXPIRED_AT_ONCE:
                return expired

    async def _expired(self, connection: Connection, older_seconds: float) -> Sequence[tuple[str, str]]:
        now = self._database.now
        rows = await connection.rows(
            f"SELECT owner, response FROM runs WHERE has_events = 1 AND ended_at < {now} - ? "
            # Of a process that is gone, and whose conversation nobody has continued.
            "UNION ALL SELECT owner, response FROM runs WHERE state <> 'ended' AND state = 'running' "
            f"AND background = 0 AND accepted_at < {now} - ? AND NOT EXISTS (SELECT 1 FROM conversations c "
            "WHERE c.running = runs.response AND c.owner = runs.owner AND c.busy_until > ?) "
            "LIMIT ?",
            (older_seconds, older_seconds, self._clock() - SILENT_SECONDS, EXPIRED_AT_ONCE),
        )
        # In one order, so that two processes never wait for each other.
        return sorted((owner, response) for owner, response in rows)

    async def _expire(self, connection: Connection, runs: Sequence[tuple[str, str]]) -> None:
        await connection.run_many(
            "UPDATE runs SET has_events = 0, attempt = attempt + (CASE state WHEN 'ended' THEN 0 ELSE 1 END), "
            f"state = 'ended', process = NULL, busy_until = NULL, ended_at = COALESCE(ended_at, {self._database.now}) "
            "WHERE owner = ? AND response = ?",
            runs,
        )
        for table in ("events", "idempotency_keys"):
            await connection.run_many(f"DELETE FROM {table} WHERE owner = ? AND response = ?", runs)


def rows_of(key: tuple[str, str], first: int, events: Sequence[bytes]) -> Sequence[Row]:
    """The rows of the table `events`. `first` is the number of the first event."""
    return [
        (*key, first + start, "", pack_lines(events[start : start + EVENTS_PER_ROW]))
        for start in range(0, len(events), EVENTS_PER_ROW)
    ]

"""The statements behind `RunStore` for the events of runs, for SQLite and PostgreSQL."""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial

from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.run_records import EventBatch

EVENTS_PER_ROW = 200
"""The most events in one row, so that a reader that comes back does not read a whole log for its last event."""

EXPIRED_AT_ONCE = 200
"""The most runs whose events are deleted in one transaction."""

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
            gone = {one.right.response for one in ordered if not await self._append(connection, one)}
            await connection.announce({one.right.response for one in ordered} - gone)
            return gone

        return await self._database.write(work) if batches else ()

    async def _append(self, connection: Connection, batch: EventBatch) -> bool:
        """Returns whether the right is still there."""
        right, last = batch.right, batch.first + len(batch.events)
        key = (right.owner.key, right.response)
        taken = await connection.run(
            "UPDATE runs SET events = ? WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running' "
            "AND events = ?",
            (last, *key, right.attempt, batch.first),
        )
        if taken:
            await self._add_events(connection, key, batch.first, batch.events)
            return True
        # The answer to an earlier commit, of these events or of some of them, may have been lost with the connection.
        found = await connection.rows(
            "SELECT events FROM runs WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running' "
            "AND events >= ?",
            (*key, right.attempt, batch.first),
        )
        if found and (known := found[0][0]) < last:
            rest = EventBatch(right=right, first=known, events=batch.events[known - batch.first :])
            return await self._append(connection, rest)
        return bool(found)

    async def _add_events(
        self, connection: Connection, key: tuple[str, str], first: int, events: Sequence[bytes]
    ) -> None:
        rows = [
            (*key, first + start, b"\n".join(events[start : start + EVENTS_PER_ROW]).decode())
            for start in range(0, len(events), EVENTS_PER_ROW)
        ]
        await connection.run_many("INSERT INTO events (owner, response, first, body) VALUES (?, ?, ?, ?)", rows)

    async def events(self, owner: Owner, response_id: str, *, after: int, most: int) -> Sequence[bytes]:
        """See `RunStore.events`."""
        key, wanted = (owner.key, response_id), after + 1

        async def work(connection: Connection) -> Sequence[bytes]:
            # From the row that holds the first one.
            rows = await connection.rows(
                "SELECT first, body FROM events WHERE owner = ? AND response = ? AND first >= COALESCE((SELECT "
                "MAX(first) FROM events WHERE owner = ? AND response = ? AND first <= ?), 0) AND first < ? "
                "ORDER BY first",
                (*key, *key, wanted, wanted + most),
            )
            found: list[bytes] = []
            for first, body in rows:
                found += body.encode().split(b"\n")[max(wanted - first, 0) :]
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

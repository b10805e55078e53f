"""The statements behind `RunStore`, for SQLite and PostgreSQL.

Times are those of the database's clock, because leases of several machines are compared.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from graph_agent.errors import IdempotencyKeyUsed, LeaseLost, TooManyRuns
from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.run_records import (
    ClaimedRun,
    EventBatch,
    KeyedRun,
    NewRun,
    Renewed,
    Right,
    RunLimits,
    RunState,
    StoredRun,
)
from graph_agent.stores.sql_rows import Row

HOME_SECONDS = 5.0
"""How long only the process with the user's token may take a queued run. Later another one takes it, and parks it."""

MOST_LOOKED_AT = 200
"""The most runs that one claim looks at."""

EVENTS_PER_ROW = 200
"""The most events in one row, so that a reader that comes back does not read a whole log for its last event."""

QUEUE_RETRY_SECONDS = 10
"""What `Retry-After` says when the queue is full."""

RUN = "background, state, process, busy_until, attempt, events, has_events, cancelled, accepted_at, ended_at, digest"


class SqlRuns:
    """See `RunStore`."""

    def __init__(
        self, database: Database, *, announce: Callable[[Connection, str], Awaitable[None]] | None = None
    ) -> None:
        """`announce` tells other processes about a topic when the transaction is committed."""
        self._database = database
        self._announce = announce or _to_nobody

    # -- within the transactions of responses -----------------------------------------------------------------------

    async def add(self, connection: Connection, owner: Owner, response_id: str, run: NewRun) -> None:
        """Record a run whose response begins in the same transaction.

        Raises:
            TooManyRuns: the queue is full.
            IdempotencyKeyUsed: another request has used the key meanwhile.
        """
        now = self._database.now
        if run.background and run.most_queued is not None:
            queued = await connection.rows("SELECT COUNT(*) FROM runs WHERE state = 'queued'")
            if queued[0][0] >= run.most_queued:
                raise TooManyRuns(
                    f"{run.most_queued} background runs are waiting already; try again later",
                    retry_after=QUEUE_RETRY_SECONDS,
                )
        if run.key is not None:
            added = await connection.run(
                "INSERT INTO idempotency_keys (owner, key, digest, response, created_at) "
                f"VALUES (?, ?, ?, ?, {now}) ON CONFLICT (owner, key) DO NOTHING",
                (owner.key, run.key, run.digest or "", response_id),
            )
            if not added:
                raise IdempotencyKeyUsed("another request with this `Idempotency-Key` has just begun")
        state = "queued" if run.background else "running"
        await connection.run(
            "INSERT INTO runs (owner, response, background, state, process, busy_until, attempt, crashes, request, "
            "digest, needs_token, home, seconds, accepted_at, queued_at, cancelled, events, has_events) "
            f"VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, {now}, {now}, 0, ?, 1)",
            (
                owner.key,
                response_id,
                int(run.background),
                state,
                None if run.background else run.process,
                None,
                0 if run.background else 1,
                run.request,
                run.digest,
                int(run.needs_token),
                run.process if run.needs_token else None,
                run.seconds,
                len(run.events),
            ),
        )
        await self._add_events(connection, owner.key, response_id, 0, run.events)
        if run.background:
            await self._announce(connection, QUEUE_TOPIC)

    async def end(self, connection: Connection, right: Right, events: EventBatch | None) -> None:
        """Record that a run has ended, with its last events, in the transaction of its response's end.

        Raises:
            LeaseLost: the right is lost.
        """
        if events is not None and not await self._append(connection, events):
            raise lost()
        ended = await connection.run(
            f"UPDATE runs SET state = 'ended', process = NULL, busy_until = NULL, ended_at = {self._database.now}, "
            "request = NULL WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running'",
            (right.owner.key, right.response, right.attempt),
        )
        if not ended:
            raise lost()
        await self._announce(connection, right.response)

    async def end_lost(self, connection: Connection, owner: Owner, response_id: str) -> None:
        """Record that the process of a run in the foreground is gone."""
        await connection.run(
            f"UPDATE runs SET state = 'ended', process = NULL, busy_until = NULL, ended_at = {self._database.now} "
            "WHERE owner = ? AND response = ? AND background = 0 AND state <> 'ended'",
            (owner.key, response_id),
        )
        await self._announce(connection, response_id)

    # -- the life of a run ------------------------------------------------------------------------------------------

    async def claim(self, process: str, *, limits: RunLimits, busy_seconds: float) -> Sequence[ClaimedRun]:
        """See `RunStore.claim`."""
        now = self._database.now
        free = (
            f"((state = 'queued' AND (home IS NULL OR home = ? OR cancelled = 1 OR queued_at < {now} - ?)) "
            f"OR (state = 'running' AND background = 1 AND busy_until < {now}))"
        )
        free_for = (process, HOME_SECONDS)

        async def work(connection: Connection) -> Sequence[ClaimedRun]:
            # Looked for without a lock, which is nearly always enough.
            if not await connection.rows(f"SELECT 1 FROM runs WHERE {free} LIMIT 1", free_for):
                return []
            # One process at a time, so that the limits over all of them hold.
            await connection.run("UPDATE graph_agent_schema SET version = version")
            active = await connection.rows(
                "SELECT owner, COUNT(*) FROM runs WHERE state = 'running' AND background = 1 "
                f"AND busy_until >= {now} GROUP BY owner"
            )
            of_owner: dict[str, int] = dict(active)
            in_all, here = sum(of_owner.values()), limits.here
            found = await connection.rows(
                "SELECT owner, response, attempt, cancelled FROM ("
                "SELECT owner, response, attempt, cancelled, queued_at, "
                "ROW_NUMBER() OVER (PARTITION BY owner, cancelled ORDER BY queued_at, response) AS nth "
                f"FROM runs WHERE {free}) AS waiting WHERE cancelled = 1 OR nth <= ? "
                "ORDER BY cancelled DESC, queued_at, response LIMIT ?",
                (*free_for, limits.per_owner, MOST_LOOKED_AT),
            )
            claimed = []
            for owner, response, attempt, cancelled in found:
                if not cancelled:
                    if here <= 0 or in_all >= limits.in_all or of_owner.get(owner, 0) >= limits.per_owner:
                        continue
                    here, in_all, of_owner[owner] = here - 1, in_all + 1, of_owner.get(owner, 0) + 1
                rows = await connection.rows(
                    "UPDATE runs SET crashes = crashes + (CASE WHEN state = 'running' THEN 1 ELSE 0 END), "
                    f"state = 'running', process = ?, attempt = attempt + 1, busy_until = {now} + ?, "
                    f"ends_by = COALESCE(ends_by, {now} + seconds) WHERE owner = ? AND response = ? AND attempt = ? "
                    f"AND {free} RETURNING attempt, request, events, crashes, cancelled, needs_token, ends_by - {now}",
                    (process, busy_seconds, owner, response, attempt, *free_for),
                )
                if rows:
                    await connection.run(
                        "UPDATE responses SET status = 'in_progress' WHERE owner = ? AND id = ? AND status = 'queued'",
                        (owner, response),
                    )
                claimed += [_claimed(owner, response, row) for row in rows]
            return claimed

        return await self._database.write(work)

    async def renew(self, process: str, attempts: Mapping[str, int], *, busy_seconds: float) -> Renewed:
        """See `RunStore.renew`."""
        if not attempts:
            return Renewed(lost=(), cancelled=())

        async def work(connection: Connection) -> Renewed:
            rows = await connection.rows(
                f"UPDATE runs SET busy_until = {self._database.now} + ? WHERE process = ? AND state = 'running' "
                "RETURNING response, attempt, cancelled",
                (busy_seconds, process),
            )
            held = {response: attempt for response, attempt, _ in rows}
            return Renewed(
                lost={one for one, attempt in attempts.items() if held.get(one) != attempt},
                cancelled={response for response, _, cancelled in rows if cancelled},
            )

        return await self._database.write(work)

    async def append(self, batches: Sequence[EventBatch]) -> Collection[str]:
        """See `RunStore.append`."""
        if not batches:
            return ()

        async def work(connection: Connection) -> Collection[str]:
            # In one order, so that two processes never wait for each other.
            ordered = sorted(batches, key=lambda one: (one.right.owner.key, one.right.response))
            gone = {one.right.response for one in ordered if not await self._append(connection, one)}
            for one in ordered:
                await self._announce(connection, one.right.response)
            return gone

        return await self._database.write(work)

    async def _append(self, connection: Connection, batch: EventBatch) -> bool:
        """Returns whether the right is still there."""
        if not batch.events:
            return True
        right, last = batch.right, batch.first + len(batch.events)
        key = (right.owner.key, right.response)
        taken = await connection.run(
            "UPDATE runs SET events = ? WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running' "
            "AND events = ?",
            (last, *key, right.attempt, batch.first),
        )
        if not taken:
            # The answer to an earlier commit may have been lost with the connection.
            return bool(
                await connection.rows(
                    "SELECT 1 FROM runs WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running' "
                    "AND events >= ?",
                    (*key, right.attempt, last),
                )
            )
        await self._add_events(connection, *key, batch.first, batch.events)
        return True

    async def _add_events(
        self, connection: Connection, owner: str, response: str, first: int, events: Sequence[bytes]
    ) -> None:
        rows = [
            (owner, response, first + start, b"\n".join(events[start : start + EVENTS_PER_ROW]).decode())
            for start in range(0, len(events), EVENTS_PER_ROW)
        ]
        await connection.run_many("INSERT INTO events (owner, response, first, body) VALUES (?, ?, ?, ?)", rows)

    async def release(self, right: Right, *, process: str, to: RunState) -> None:
        """See `RunStore.release`."""

        async def work(connection: Connection) -> None:
            changed = await connection.run(
                "UPDATE runs SET state = ?, process = NULL, busy_until = NULL, home = NULL, "
                "crashes = 0 WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running' AND process = ?",
                (to, right.owner.key, right.response, right.attempt, process),
            )
            if not changed:
                raise lost()
            await self._announce(connection, QUEUE_TOPIC)

        await self._database.write(work)

    async def made_progress(self, right: Right) -> None:
        """See `RunStore.made_progress`."""

        async def work(connection: Connection) -> None:
            await connection.run(
                "UPDATE runs SET crashes = 0 WHERE owner = ? AND response = ? AND attempt = ?",
                (right.owner.key, right.response, right.attempt),
            )

        await self._database.write(work)

    # -- for its owner ----------------------------------------------------------------------------------------------

    async def get(self, owner: Owner, response_id: str) -> StoredRun | None:
        """See `RunStore.get`."""

        async def work(connection: Connection) -> StoredRun | None:
            rows = await connection.rows(
                f"SELECT {RUN}, busy_until >= {self._database.now} FROM runs WHERE owner = ? AND response = ?",
                (owner.key, response_id),
            )
            return _stored(owner, response_id, rows[0]) if rows else None

        return await self._database.read(work)

    async def with_key(self, owner: Owner, key: str) -> KeyedRun | None:
        """See `RunStore.with_key`."""

        async def work(connection: Connection) -> KeyedRun | None:
            rows = await connection.rows(
                "SELECT response, digest FROM idempotency_keys WHERE owner = ? AND key = ?", (owner.key, key)
            )
            return KeyedRun(response=rows[0][0], digest=rows[0][1]) if rows else None

        return await self._database.read(work)

    async def events(self, owner: Owner, response_id: str, *, after: int, most: int) -> Sequence[bytes]:
        """See `RunStore.events`."""

        async def work(connection: Connection) -> Sequence[bytes]:
            rows = await connection.rows(
                "SELECT first, body FROM events WHERE owner = ? AND response = ? AND first >= COALESCE((SELECT "
                "MAX(first) FROM events WHERE owner = ? AND response = ? AND first <= ?), 0) ORDER BY first LIMIT ?",
                (owner.key, response_id, owner.key, response_id, after + 1, max(most // EVENTS_PER_ROW, 1) + 1),
            )
            found: list[bytes] = []
            for first, body in rows:
                events = body.encode().split(b"\n")
                found += events[max(after + 1 - first, 0) :]
            return found

        return await self._database.read(work)

    async def cancel(self, owner: Owner, response_id: str) -> None:
        """See `RunStore.cancel`."""

        async def work(connection: Connection) -> None:
            changed = await connection.rows(
                "UPDATE runs SET cancelled = 1, state = (CASE WHEN state = 'parked' THEN 'queued' ELSE state END) "
                "WHERE owner = ? AND response = ? AND state <> 'ended' RETURNING process",
                (owner.key, response_id),
            )
            for (process,) in changed:
                await self._announce(connection, process or QUEUE_TOPIC)

        await self._database.write(work)

    async def wake(self, owner: Owner, response_id: str, *, home: str) -> bool:
        """See `RunStore.wake`."""

        async def work(connection: Connection) -> bool:
            woken = await connection.run(
                f"UPDATE runs SET state = 'queued', home = ?, queued_at = {self._database.now} "
                "WHERE owner = ? AND response = ? AND state = 'parked'",
                (home, owner.key, response_id),
            )
            await self._announce(connection, QUEUE_TOPIC)
            return bool(woken)

        return await self._database.write(work)

    # -- upkeep -----------------------------------------------------------------------------------------------------

    async def expire_events(self, *, older_seconds: float) -> int:
        """See `RunStore.expire_events`."""

        async def work(connection: Connection) -> int:
            found = await connection.rows(
                "SELECT owner, response FROM runs WHERE has_events = 1 "
                f"AND ended_at < {self._database.now} - ? LIMIT ?",
                (older_seconds, MOST_LOOKED_AT),
            )
            for table in ("events", "idempotency_keys"):
                await connection.run_many(f"DELETE FROM {table} WHERE owner = ? AND response = ?", found)
            await connection.run_many("UPDATE runs SET has_events = 0 WHERE owner = ? AND response = ?", found)
            return len(found)

        return await self._database.write(work)


QUEUE_TOPIC = "queue"
"""See `stores.store.QUEUE`."""

TABLES = ("events", "idempotency_keys", "runs")
"""The tables of runs. Each has the columns `owner` and `response`."""


async def _to_nobody(connection: Connection, topic: str) -> None:
    """There is no other process."""


def lost() -> LeaseLost:
    """The error of a write whose right is lost."""
    return LeaseLost("another process has taken over this run")


def _claimed(owner: str, response: str, row: Row) -> ClaimedRun:
    attempt, request, events, crashes, cancelled, needs_token, seconds_left = row
    return ClaimedRun(
        owner=Owner(owner),
        response=response,
        attempt=attempt,
        request=request,
        events=events,
        crashes=crashes,
        cancelled=bool(cancelled),
        needs_token=bool(needs_token),
        seconds_left=seconds_left,
    )


def _stored(owner: Owner, response: str, row: Row) -> StoredRun:
    background, state, process, _, attempt, events, has_events, cancelled, accepted_at, ended_at, digest, alive = row
    return StoredRun(
        owner=owner,
        response=response,
        background=bool(background),
        state=state,
        process=process if alive or not background else None,
        attempt=attempt,
        events=events,
        has_events=bool(has_events),
        cancelled=bool(cancelled),
        accepted_at=accepted_at,
        ended_at=ended_at,
        digest=digest,
    )

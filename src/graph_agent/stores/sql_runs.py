"""The statements behind `RunStore`, for SQLite and PostgreSQL: the life of a run. `SqlEvents` adds its events.

Times are those of the database's clock, because leases of several machines are compared.
"""

from collections.abc import Collection, Mapping, Sequence

from graph_agent.errors import IdempotencyKeyUsed, TooManyRuns
from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection
from graph_agent.stores.fence import lost
from graph_agent.stores.records import EndedResponse
from graph_agent.stores.run_records import (
    ClaimedRun,
    KeyedRun,
    NewRun,
    Renewed,
    Right,
    RunLimits,
    RunState,
    StoredRun,
)
from graph_agent.stores.sql_deliveries import add_delivery
from graph_agent.stores.sql_events import EVENTS, SqlEvents, rows_of
from graph_agent.stores.sql_rows import Row, insert
from graph_agent.stores.sql_schedules import take_tick

HOME_SECONDS = 5.0
"""How long only the process with the user's token may take a queued run. Later another one takes it, and parks it."""

SUSPECT = 2
"""After so many crashes in a row, without a new checkpoint, a run is suspected to have caused them."""

SUSPECT_SECONDS = 60.0
"""How long a suspect waits for a process that has no other runs."""

MOST_LOOKED_AT = 200
"""The most runs that one claim looks at."""

QUEUE_RETRY_SECONDS = 10
"""What `Retry-After` says when the queue is full."""

QUEUE_TOPIC = "queue"
"""See `stores.store.QUEUE`."""

OPEN = "state <> 'ended'"
"""The condition of the index of open runs. SQLite uses that index only where a statement repeats the condition."""

RUN = "background, state, process, attempt, events, has_events, cancelled, accepted_at, ended_at, digest"


class SqlRuns(SqlEvents):
    """See `RunStore`."""

    # -- within the transactions of responses -----------------------------------------------------------------------

    async def take_key(self, connection: Connection, owner: Owner, response_id: str, run: NewRun) -> None:
        """Record the `Idempotency-Key` of a run, or the time of its schedule, if it has one, before anything else of
        it.

        Raises:
            IdempotencyKeyUsed: another request has used the key meanwhile.
            TickTaken, EarlierRunGoesOn: see `take_tick`.
        """
        if run.tick is not None:
            await take_tick(connection, owner, response_id, run.tick)
        if run.key is None:
            return
        added = await connection.run(
            "INSERT INTO idempotency_keys (owner, key, digest, response, created_at) "
            f"VALUES (?, ?, ?, ?, {self._database.now}) ON CONFLICT (owner, key) DO NOTHING",
            (owner.key, run.key, run.digest or "", response_id),
        )
        if not added:
            raise IdempotencyKeyUsed("another request with this `Idempotency-Key` has just begun")

    async def add(self, connection: Connection, owner: Owner, response_id: str, run: NewRun) -> None:
        """Record a run whose response begins in the same transaction.

        Raises:
            TooManyRuns: the queue is full.
        """
        now = self._database.now
        if run.background and run.most_queued is not None:
            queued = await connection.rows(f"SELECT COUNT(*) FROM runs WHERE {OPEN} AND state = 'queued'")
            if queued[0][0] >= run.most_queued:
                raise TooManyRuns(
                    f"{run.most_queued} background runs are waiting already: try again later",
                    retry_after=QUEUE_RETRY_SECONDS,
                )
        await connection.run(
            "INSERT INTO runs (owner, response, background, state, process, busy_until, attempt, crashes, request, "
            "digest, needs_token, home, seconds, accepted_at, queued_at, cancelled, events, has_events, webhook) "
            f"VALUES (?, ?, ?, ?, ?, NULL, ?, 0, ?, ?, ?, ?, ?, {now}, {now}, 0, ?, 1, ?)",
            (
                owner.key,
                response_id,
                int(run.background),
                "queued" if run.background else "running",
                None if run.background else run.process,
                0 if run.background else 1,
                run.request,
                run.digest,
                int(run.needs_token),
                run.process if run.needs_token else None,
                run.seconds,
                len(run.events),
                run.webhook,
            ),
        )
        await insert(connection, EVENTS, rows_of((owner.key, response_id), 0, run.events))
        if run.background:
            await connection.announce((QUEUE_TOPIC,))

    async def end(self, connection: Connection, right: Right, ended: EndedResponse, *, delivery: str) -> bool:
        """Record that a run has ended, with its last events, in the transaction of its response's end. A webhook that
        is to be sent gets the id `delivery`.

        Returns whether that is new. It is not if the answer to an earlier transaction was lost.

        Raises:
            LeaseLost: the right is lost.
        """
        key = (right.owner.key, right.response, right.attempt)
        has_right, now = ended.events is None or await self._append(connection, ended.events), self._database.now
        if has_right and (
            changed := await connection.rows(
                f"UPDATE runs SET state = 'ended', process = NULL, busy_until = NULL, ended_at = {now}, request = NULL "
                "WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running' RETURNING webhook",
                key,
            )
        ):
            await connection.announce((right.response,))
            if (target := changed[0][0]) is not None:
                await add_delivery(connection, right, now=now, id_=delivery, target=target, status=ended.status)
            return True
        if await connection.rows(
            "SELECT 1 FROM runs WHERE owner = ? AND response = ? AND attempt = ? AND state = 'ended'", key
        ):
            return False
        raise lost()

    async def end_lost(self, connection: Connection, owner: Owner, response_id: str) -> None:
        """End a run in the foreground whose process is gone. If the process comes back, its right is lost."""
        await connection.run(
            f"UPDATE runs SET state = 'ended', process = NULL, busy_until = NULL, ended_at = {self._database.now}, "
            "attempt = attempt + 1, request = NULL "
            "WHERE owner = ? AND response = ? AND background = 0 AND state = 'running'",
            (owner.key, response_id),
        )
        await connection.announce((response_id,))

    # -- the life of a run ------------------------------------------------------------------------------------------

    async def claim(self, process: str, *, limits: RunLimits, busy_seconds: float) -> Sequence[ClaimedRun]:
        """See `RunStore.claim`."""
        now = self._database.now
        queued = f"state = 'queued' AND (home IS NULL OR home = ? OR cancelled = 1 OR queued_at < {now} - ?)"
        expired = f"state = 'running' AND background = 1 AND busy_until < {now}"
        overdue = f"state = 'parked' AND ends_by < {now}"
        free_for = (process, HOME_SECONDS)
        # Three queries put together, because SQLite would not use the index for one with all conditions.
        columns = "SELECT owner, response, attempt, cancelled, queued_at,"
        suspect = f"(CASE WHEN crashes = {SUSPECT - 1} AND busy_until > {now} - {SUSPECT_SECONDS} THEN 1 ELSE 0 END)"
        free = (
            f"{columns} 0 AS suspect FROM runs WHERE {OPEN} AND {queued} UNION ALL "
            f"{columns} {suspect} AS suspect FROM runs WHERE {OPEN} AND {expired} UNION ALL "
            f"{columns} 0 AS suspect FROM runs WHERE {OPEN} AND {overdue}"
        )

        async def look(connection: Connection) -> list[Row]:
            return await connection.rows(
                "WITH active AS (SELECT owner, COUNT(*) AS busy FROM runs "
                f"WHERE {OPEN} AND state = 'running' AND background = 1 AND busy_until >= {now} GROUP BY owner), "
                "waiting AS (SELECT owner, response, attempt, cancelled, queued_at, suspect, "
                "ROW_NUMBER() OVER (PARTITION BY owner, cancelled ORDER BY queued_at, response) AS nth "
                f"FROM ({free}) AS free), "
                "every AS (SELECT CAST(COALESCE(SUM(busy), 0) AS INTEGER) AS busy FROM active) "
                "SELECT waiting.owner, waiting.response, waiting.attempt, waiting.cancelled, every.busy, "
                "waiting.suspect "
                "FROM every CROSS JOIN waiting LEFT JOIN active ON active.owner = waiting.owner "
                "WHERE cancelled = 1 OR (? > 0 AND every.busy < ? AND nth + COALESCE(active.busy, 0) <= ?) "
                "ORDER BY cancelled DESC, queued_at, response LIMIT ?",
                (*free_for, limits.here, limits.in_all, limits.per_owner, MOST_LOOKED_AT),
            )

        async def work(connection: Connection) -> Sequence[ClaimedRun]:
            # One process at a time, so that the limits over all of them hold.
            await connection.run("UPDATE graph_agent_schema SET version = version")
            found = await look(connection)
            cancelled = [row for row in found if row[3]]
            others = [row for row in found if not row[3]]
            may = min(limits.here, limits.in_all - others[0][4]) if others else 0
            if limits.alone and others[:1] and others[0][5]:
                may = min(may, 1)
            else:
                others = [row for row in others if not row[5]]
            claimed = []
            # In one order, so that two transactions never wait for each other.
            for owner, response, attempt in sorted(row[:3] for row in (*cancelled, *others[:may])):
                rows = await connection.rows(
                    "UPDATE runs SET crashes = crashes + (CASE WHEN state = 'running' THEN 1 ELSE 0 END), "
                    f"state = 'running', process = ?, attempt = attempt + 1, busy_until = {now} + ?, "
                    f"ends_by = COALESCE(ends_by, {now} + seconds) WHERE owner = ? AND response = ? AND attempt = ? "
                    f"AND (({queued}) OR ({expired}) OR ({overdue})) "
                    f"RETURNING attempt, request, events, crashes, cancelled, needs_token, ends_by - {now}, "
                    "(SELECT steers FROM responses r WHERE r.owner = runs.owner AND r.id = runs.response)",
                    (process, busy_seconds, owner, response, attempt, *free_for),
                )
                if rows:
                    await connection.run(
                        "UPDATE responses SET status = 'in_progress' WHERE owner = ? AND id = ? AND status = 'queued'",
                        (owner, response),
                    )
                claimed += [_claimed(owner, response, row) for row in rows]
            place = {row[1]: number for number, row in enumerate(found)}
            return sorted(claimed, key=lambda one: place[one.response])

        # Most of the time there is nothing, and reading keeps nobody from writing.
        return await self._database.write(work) if await self._database.read(look) else ()

    async def has_open(self) -> bool:
        """See `RunStore.has_open`."""

        async def work(connection: Connection) -> bool:
            open_states = f"{OPEN} AND state IN ('queued', 'running')"
            return bool(await connection.rows(f"SELECT 1 FROM runs WHERE {open_states} AND background = 1 LIMIT 1"))

        return await self._database.read(work)

    async def counts(self) -> Mapping[RunState, int]:
        """See `RunStore.counts`."""

        async def work(connection: Connection) -> Mapping[RunState, int]:
            counted = f"SELECT state, COUNT(*) FROM runs WHERE {OPEN} AND background = 1 GROUP BY state"
            return {row[0]: row[1] for row in await connection.rows(counted)}

        return await self._database.read(work)

    async def renew(self, process: str, attempts: Mapping[str, int], *, busy_seconds: float) -> Renewed:
        """See `RunStore.renew`."""
        if not attempts:
            return Renewed(lost=(), cancelled=())

        async def work(connection: Connection) -> Renewed:
            # Only those that it knows, because it may have been given others without learning of it. Rows are locked in
            # the order in which `append` locks them, so that neither waits for the other.
            rows = await connection.rows(
                f"UPDATE runs SET busy_until = {self._database.now} + ? WHERE (owner, response) IN (SELECT owner, "
                f"response FROM runs WHERE process = ? AND {OPEN} AND state = 'running' AND (response, attempt) IN "
                f"(VALUES {', '.join(['(?, ?)'] * len(attempts))}) ORDER BY owner, response "
                f"{self._database.for_update}) RETURNING response, attempt, cancelled",
                (busy_seconds, process, *(value for pair in attempts.items() for value in pair)),
            )
            held = {response: attempt for response, attempt, _ in rows}
            return Renewed(
                lost={one for one, attempt in attempts.items() if held.get(one) != attempt},
                cancelled={response for response, _, cancelled in rows if cancelled},
            )

        return await self._database.write(work)

    async def release(self, right: Right, *, process: str, to: RunState, home: str | None = None) -> None:
        """See `RunStore.release`."""
        # Other processes leave it to its home for a time, which begins now.
        waits = "" if home is None else f", queued_at = {self._database.now}"

        async def work(connection: Connection) -> None:
            # Somebody has to end a cancelled run.
            changed = await connection.run(
                "UPDATE runs SET state = (CASE WHEN cancelled = 1 THEN 'queued' ELSE ? END), process = NULL, "
                f"busy_until = NULL, home = ?, crashes = 0{waits} "
                "WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running' AND process = ?",
                (to, home, right.owner.key, right.response, right.attempt, process),
            )
            if not changed:
                raise lost()
            await connection.announce((QUEUE_TOPIC, right.response))

        await self._database.write(work)

    # -- for its owner ----------------------------------------------------------------------------------------------

    async def get(self, owner: Owner, response_id: str) -> StoredRun | None:
        """See `RunStore.get`."""

        async def work(connection: Connection) -> StoredRun | None:
            # A run in the foreground lives as long as it has its conversation.
            rows = await connection.rows(
                f"SELECT {RUN}, (CASE background WHEN 1 THEN busy_until >= {self._database.now} ELSE EXISTS (SELECT 1 "
                "FROM conversations c WHERE c.running = runs.response AND c.owner = runs.owner AND c.busy_until > ?) "
                "END) FROM runs WHERE owner = ? AND response = ?",
                (self._clock(), owner.key, response_id),
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

    async def cancel(self, owner: Owner, response_id: str) -> None:
        """See `RunStore.cancel`."""

        async def work(connection: Connection) -> None:
            changed = await connection.rows(
                "UPDATE runs SET cancelled = 1, state = (CASE WHEN state = 'parked' THEN 'queued' ELSE state END) "
                f"WHERE owner = ? AND response = ? AND {OPEN} RETURNING process",
                (owner.key, response_id),
            )
            await connection.announce([process or QUEUE_TOPIC for (process,) in changed])

        await self._database.write(work)

    async def cancel_all(self, owner: Owner) -> Collection[str]:
        """See `RunStore.cancel_all`."""
        theirs = f"owner = ? AND {OPEN} AND background = 1"

        async def look(connection: Connection) -> list[str]:
            rows = await connection.rows(f"SELECT response FROM runs WHERE {theirs}", (owner.key,))
            return [response for (response,) in rows]

        async def work(connection: Connection) -> None:
            changed = await connection.rows(
                "UPDATE runs SET cancelled = 1, state = (CASE WHEN state = 'parked' THEN 'queued' ELSE state END) "
                f"WHERE {theirs} AND cancelled = 0 RETURNING process",
                (owner.key,),
            )
            await connection.announce([process or QUEUE_TOPIC for (process,) in changed])

        if not await self._database.read(look):
            return ()
        await self._database.write(work)
        return await self._database.read(look)

    async def cancelled(self, process: str) -> Collection[str]:
        """See `RunStore.cancelled`."""

        async def work(connection: Connection) -> Collection[str]:
            rows = await connection.rows(
                f"SELECT response FROM runs WHERE process = ? AND {OPEN} AND state = 'running' AND cancelled = 1",
                (process,),
            )
            return [response for (response,) in rows]

        return await self._database.read(work)

    async def steered(self, process: str) -> Collection[str]:
        """See `RunStore.steered`."""

        async def work(connection: Connection) -> Collection[str]:
            rows = await connection.rows(
                "SELECT runs.response FROM runs JOIN responses r ON r.owner = runs.owner AND r.id = runs.response "
                f"WHERE runs.process = ? AND {OPEN} AND runs.state = 'running' AND r.steers > 0",
                (process,),
            )
            return [response for (response,) in rows]

        return await self._database.read(work)

    async def wake(self, owner: Owner, response_id: str, *, home: str) -> bool:
        """See `RunStore.wake`."""

        async def work(connection: Connection) -> bool:
            woken = await connection.run(
                f"UPDATE runs SET state = 'queued', home = ?, queued_at = {self._database.now} "
                "WHERE owner = ? AND response = ? AND state = 'parked'",
                (home, owner.key, response_id),
            )
            if woken:
                await connection.announce((QUEUE_TOPIC,))
            return bool(woken)

        return await self._database.write(work)


DELETABLE = (
    "(running IS NULL OR busy_until <= ? OR EXISTS (SELECT 1 FROM runs WHERE runs.owner = conversations.owner "
    "AND runs.response = conversations.running AND runs.state = 'parked'))"
)
"""The condition of conversations that may be deleted: no process works on them. The parameter is the time."""

RUN_TABLES = ("events", "idempotency_keys", "webhook_deliveries", "steers", "runs")
"""The tables of runs. Each has the columns `owner` and `response`."""


async def delete_runs(connection: Connection, condition: str, parameters: Sequence[str]) -> None:
    """Delete the runs of responses that are deleted, with their events and keys."""
    for table in RUN_TABLES:
        await connection.run(f"DELETE FROM {table} WHERE {condition}", parameters)


def _claimed(owner: str, response: str, row: Row) -> ClaimedRun:
    attempt, request, events, crashes, cancelled, needs_token, seconds_left, steers = row
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
        is_steered=bool(steers),
    )


def _stored(owner: Owner, response: str, row: Row) -> StoredRun:
    background, state, process, attempt, events, has_events, cancelled, accepted_at, ended_at, digest, alive = row
    return StoredRun(
        owner=owner,
        response=response,
        background=bool(background),
        state=state,
        process=process if alive else None,
        attempt=attempt,
        events=events,
        has_events=bool(has_events),
        cancelled=bool(cancelled),
        accepted_at=accepted_at,
        ended_at=ended_at,
        digest=digest,
    )

"""The statements behind `ResponseStore`, for SQLite and PostgreSQL: the life of a response, and lookups."""

import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from graph_agent.errors import (
    ApprovalAnswered,
    ConversationBusy,
    ConversationNotFound,
    LeaseLost,
    ResponseNotActive,
    ResponseNotFound,
)
from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.records import (
    EndedResponse,
    Fingerprints,
    GivenFeedback,
    Item,
    NewResponse,
    StoredApproval,
    StoredResponse,
)
from graph_agent.stores.sql_rows import (
    APPROVAL,
    APPROVALS,
    INPUT,
    ITEMS,
    OUTPUT,
    RESPONSES,
    WITH_RESPONSE,
    WITHOUT_RESPONSE,
    Row,
    as_json,
    as_sought,
    as_title,
    feedback_json,
    insert,
    item_rows,
    lost_response,
    packed_response,
    stored_approval,
    stored_response,
    waiting_json,
)
from graph_agent.stores.sql_runs import SqlRuns
from graph_agent.stores.sql_steers import SqlSteers, fail_steers
from graph_agent.stores.steer_records import NewSteer, SteerLimits, StoredSteer

T = TypeVar("T")

DeleteCheckpoints = Callable[[Connection, str], Coroutine[Any, Any, int]]
"""Deletes the checkpoints of a LangGraph thread within a transaction, and returns how many there were."""

MOST_IN_LIST = 500
"""The most values in one list of a statement."""

MOST_ALIKE = 20
"""The most responses that `matching` returns for one fingerprint. Many conversations begin with the same words."""

ADD_RESPONSE = "INSERT INTO responses (owner, id, conversation, parent, kind, graph, family, status, created_at) "


class SqlResponses:
    """The life of responses, and lookups. `SqlConversations` adds conversations."""

    def __init__(
        self,
        database: Database,
        *,
        runs: SqlRuns,
        delete_checkpoints: DeleteCheckpoints,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._runs = runs
        self._delete_checkpoints = delete_checkpoints
        self._clock = clock
        self._steers = SqlSteers(database, clock=clock)

    # -- the life of a response ---------------------------------------------------------------------------------

    async def begin(self, owner: Owner, new: NewResponse, *, busy_until: float) -> None:
        """See `ResponseStore.begin`."""
        now, items = self._clock(), item_rows(owner.key, new.id, INPUT, new.input)

        async def work(connection: Connection) -> None:
            await self._begin(connection, owner, new, items, busy_until, now)

        await self._database.write(work)

    async def _begin(
        self,
        connection: Connection,
        owner: Owner,
        new: NewResponse,
        items: Sequence[Row],
        busy_until: float,
        now: float,
    ) -> None:
        if new.run is not None:
            # First, so that the same request sent twice is told of its key, and not that it waits for itself.
            await self._runs.take_key(connection, owner, new.id, new.run)
        if not new.continuation.is_new:
            await self._take_lease(connection, owner, new, busy_until, now)
        elif not await _created(connection, owner, new, busy_until, now):
            raise await _busy(connection, owner, new.continuation.conversation)
        await _add_response(connection, owner, new, "queued" if new.run and new.run.background else "in_progress")
        await insert(connection, ITEMS, items)
        await _take_decisions(connection, owner, new)
        if new.steers:
            await self._steers.take(connection, owner, new)
        if new.run is not None:
            await self._runs.add(connection, owner, new.id, new.run)

    async def finish(self, owner: Owner, response_id: str, ended: EndedResponse) -> int:
        """See `ResponseStore.finish`."""
        now, body, delivery = self._clock(), packed_response(ended.response), f"wh_{secrets.token_hex(16)}"
        items = item_rows(owner.key, response_id, OUTPUT, ended.response.get("output") or ())
        prints = ended.fingerprints
        values = (
            ended.status,
            body,
            ended.checkpoint,
            prints and prints.whole,
            prints and prints.answers,
            as_json(dict(ended.messages)) if ended.messages else None,
            waiting_json(ended.waiting),
            ended.trace,
        )
        asked = () if ended.waiting is None else ended.waiting.approvals
        next_ = ended.successor
        next_items = () if next_ is None else item_rows(owner.key, next_.new.id, INPUT, next_.new.input)

        async def work(connection: Connection) -> int:
            given_back = 0
            # First, because the row of the run is the lock of everything that it writes.
            if ended.right is not None and not await self._runs.end(connection, ended.right, ended, delivery=delivery):
                return given_back
            freed = await connection.run(
                "UPDATE conversations SET running = NULL, busy_until = NULL, head = ?, updated_at = ? "
                "WHERE owner = ? AND running = ?",
                (response_id, now, owner.key, response_id),
            )
            if not freed:
                raise _lease_lost()
            steered = await connection.rows(
                "UPDATE responses SET status = ?, packed = ?, checkpoint = ?, whole = ?, answers = ?, messages = ?, "
                "waiting = ?, trace = ? WHERE owner = ? AND id = ? RETURNING steers",
                (*values, owner.key, response_id),
            )
            if steered and steered[0][0]:
                given_back = await self._steers.settle(connection, owner, response_id, ended)
            await insert(connection, ITEMS, items)
            if ended.checkpoint is None and ended.status != "completed":
                await _free_decisions(connection, owner, response_id)
            for one in asked:
                # An approval that is asked again has a row already.
                await connection.run(
                    "INSERT INTO approvals (owner, id, conversation, response, body) SELECT ?, ?, conversation, id, ? "
                    "FROM responses WHERE owner = ? AND id = ? ON CONFLICT (owner, id) DO NOTHING",
                    (owner.key, one["id"], as_json(one), owner.key, response_id),
                )
            if next_ is not None:
                await self._begin(connection, owner, next_.new, next_items, next_.busy_until, now)
            return given_back

        return await self._database.write(work)

    async def steer(self, owner: Owner, new: NewSteer, *, limits: SteerLimits) -> StoredSteer:
        """See `ResponseStore.steer`."""
        return await self._steers.accept(owner, new, limits=limits)

    async def steers(self, owner: Owner, response_id: str) -> Sequence[StoredSteer]:
        """See `ResponseStore.steers`."""
        return await self._steers.of(owner, response_id)

    async def keep_feedback(self, owner: Owner, response_id: str, feedback: Mapping[str, GivenFeedback]) -> None:
        """See `ResponseStore.keep_feedback`."""
        text = feedback_json(feedback)

        async def work(connection: Connection) -> None:
            await connection.run(
                "UPDATE responses SET feedback = ? WHERE owner = ? AND id = ?", (text, owner.key, response_id)
            )

        await self._database.write(work)

    async def renew(self, response_ids: Collection[str], *, busy_until: float) -> Collection[str]:
        """See `ResponseStore.renew`."""

        async def work(connection: Connection) -> set[str]:
            held: set[str] = set()
            for some in _lists(response_ids):
                found = await connection.rows(
                    f"UPDATE conversations SET busy_until = ? WHERE running IN ({_marks(some)}) RETURNING running",
                    (busy_until, *some),
                )
                held.update(row[0] for row in found)
            return held

        return set(response_ids) - await self._database.write(work) if response_ids else set()

    async def _take_lease(
        self, connection: Connection, owner: Owner, new: NewResponse, busy_until: float, now: float
    ) -> None:
        at = new.continuation
        key = (owner.key, at.conversation)
        # Locked, so that the run that is ended below is the one from which the lease is taken.
        before = await connection.rows(
            "SELECT running, thread FROM conversations WHERE owner = ? AND id = ? " + self._database.for_update, key
        )
        if not before or before[0][1] != at.thread:
            raise conversation_not_found()
        taken = await connection.run(
            "UPDATE conversations SET running = ?, busy_until = ?, updated_at = ?, title = COALESCE(title, ?), "
            "sought = COALESCE(sought, ?) "
            "WHERE owner = ? AND id = ? AND (running IS NULL OR busy_until <= ?) AND (? = 0 OR COALESCE(head, '') = ?)",
            (
                new.id,
                busy_until,
                now,
                as_title(new.title),
                as_sought(new.title),
                *key,
                now,
                int(at.at_head),
                at.parent or "",
            ),
        )
        if not taken:
            raise await _busy(connection, owner, at.conversation)
        if before[0][0] is not None:
            await end_lost(connection, owner, before[0][0])
            await self._runs.end_lost(connection, owner, before[0][0])

    # -- lookups ------------------------------------------------------------------------------------------------

    async def get(self, owner: Owner, response_id: str) -> StoredResponse:
        """See `ResponseStore.get`."""

        async def work(connection: Connection) -> StoredResponse:
            found = await connection.rows(
                f"SELECT {WITH_RESPONSE} FROM {RESPONSES} WHERE r.owner = ? AND r.id = ?", (owner.key, response_id)
            )
            if not found:
                raise response_not_found()
            return (await self.with_items(connection, owner, found))[0]

        return await self._database.read(work)

    async def lineage(
        self, owner: Owner, response_id: str, *, since_checkpoint: bool = False
    ) -> Sequence[StoredResponse]:
        """See `ResponseStore.lineage`."""
        further = "AND line.checkpoint IS NULL" if since_checkpoint else ""
        statement = f"""
            WITH RECURSIVE line (id, parent, checkpoint, depth) AS (
                SELECT id, parent, checkpoint, 0 FROM responses WHERE owner = ? AND id = ?
                UNION ALL
                SELECT before.id, before.parent, before.checkpoint, line.depth + 1
                FROM line JOIN responses before ON before.owner = ? AND before.id = line.parent {further}
            )
            SELECT {WITH_RESPONSE} FROM line JOIN responses r ON r.owner = ? AND r.id = line.id
            JOIN conversations c ON c.owner = r.owner AND c.id = r.conversation ORDER BY line.depth DESC"""

        async def work(connection: Connection) -> Sequence[StoredResponse]:
            found = await connection.rows(statement, (owner.key, response_id, owner.key, owner.key))
            if not found:
                raise response_not_found()
            return await self.with_items(connection, owner, found)

        return await self._database.read(work)

    async def matching(
        self, owner: Owner, fingerprints: Collection[Fingerprints], *, conversation: str | None = None
    ) -> Sequence[StoredResponse]:
        """See `ResponseStore.matching`."""
        within = "" if conversation is None else "AND conversation = ?"
        place = () if conversation is None else (conversation,)
        sought = {"whole": {one.whole for one in fingerprints}, "answers": {one.answers for one in fingerprints}}

        async def work(connection: Connection) -> Sequence[StoredResponse]:
            found: dict[str, Row] = {}
            for column, values in sought.items():
                for some in _lists(values):
                    newest_first = f"OVER (PARTITION BY {column} ORDER BY created_at DESC, id DESC)"
                    newest = (
                        f"SELECT id, ROW_NUMBER() {newest_first} AS nth "
                        f"FROM responses WHERE owner = ? AND {column} IN ({_marks(some)}) {within}"
                    )
                    rows = await connection.rows(
                        f"SELECT {WITHOUT_RESPONSE} FROM {RESPONSES} WHERE r.owner = ? "
                        f"AND r.id IN (SELECT id FROM ({newest}) AS alike WHERE nth <= {MOST_ALIKE})",
                        (owner.key, owner.key, *some, *place),
                    )
                    found.update((row[0], row) for row in rows)
            matches = [stored_response(row, (), now=0) for row in found.values()]
            return sorted(matches, key=lambda one: (one.created_at, one.id), reverse=True)

        return await self._database.read(work)

    async def items(self, owner: Owner, item_ids: Collection[str]) -> Mapping[str, tuple[str, Item]]:
        """See `ResponseStore.items`."""

        async def work(connection: Connection) -> Mapping[str, tuple[str, Item]]:
            found: dict[str, tuple[str, Item]] = {}
            for some in _lists(set(item_ids)):
                # The last row of an id wins: outputs before inputs, because we made their ids, and then the newest.
                rows = await connection.rows(
                    "SELECT i.id, i.response, i.body FROM items i "
                    "JOIN responses r ON r.owner = i.owner AND r.id = i.response "
                    f"WHERE i.owner = ? AND i.id IN ({_marks(some)}) ORDER BY i.side, r.created_at, r.id",
                    (owner.key, *some),
                )
                found.update((row[0], (row[1], orjson.loads(row[2]))) for row in rows)
            return found

        return await self._database.read(work)

    async def approvals(self, owner: Owner, approval_ids: Collection[str]) -> Mapping[str, StoredApproval]:
        """See `ResponseStore.approvals`."""

        async def work(connection: Connection) -> Mapping[str, StoredApproval]:
            found: dict[str, StoredApproval] = {}
            for some in _lists(set(approval_ids)):
                rows = await connection.rows(
                    f"SELECT {APPROVAL} FROM {APPROVALS} WHERE a.owner = ? AND a.id IN ({_marks(some)})",
                    (owner.key, *some),
                )
                found.update((row[0], stored_approval(row, now=self._clock())) for row in rows)
            return found

        return await self._database.read(work)

    async def with_items(self, connection: Connection, owner: Owner, rows: Sequence[Row]) -> Sequence[StoredResponse]:
        """The responses of these rows with their items."""
        of: dict[str, list[tuple[str, str]]] = {row[0]: [] for row in rows}
        for some in _lists(of):
            found = await connection.rows(
                f"SELECT response, side, body FROM items WHERE owner = ? AND response IN ({_marks(some)}) "
                "ORDER BY response, side, place",
                (owner.key, *some),
            )
            for response, side, body in found:
                of[response].append((side, body))
        now = self._clock()
        return [stored_response(row, of[row[0]], now=now) for row in rows]


def approval_answered() -> ApprovalAnswered:
    return ApprovalAnswered("the approval was answered already, with something else or by another request")


def response_not_found() -> ResponseNotFound:
    return ResponseNotFound("there is no such response, or it is not yours")


def conversation_not_found() -> ConversationNotFound:
    return ConversationNotFound("there is no such conversation, or it is not yours")


def conversation_busy(running: str) -> ConversationBusy:
    return ConversationBusy(
        f"the conversation is busy with response {running}: wait until it has ended", running=running
    )


def _lease_lost() -> LeaseLost:
    return LeaseLost("the run was not heard of in time, and its conversation is no longer its own")


async def _created(connection: Connection, owner: Owner, new: NewResponse, busy_until: float, now: float) -> bool:
    at = new.continuation
    changed = await connection.run(
        "INSERT INTO conversations (owner, id, thread, title, sought, metadata, created_at, updated_at, running, "
        "busy_until, lasting) VALUES (?, ?, ?, ?, ?, '{}', ?, ?, ?, ?, 0) ON CONFLICT (owner, id) DO NOTHING",
        (
            owner.key,
            at.conversation,
            at.thread,
            as_title(new.title),
            as_sought(new.title),
            now,
            now,
            new.id,
            busy_until,
        ),
    )
    return bool(changed)


async def _add_response(connection: Connection, owner: Owner, new: NewResponse, status: str) -> None:
    at = new.continuation
    values = (owner.key, new.id, at.conversation, at.parent, new.kind, new.graph, new.family, status, new.created_at)
    if at.parent is None:
        await connection.run(f"{ADD_RESPONSE} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return
    added = await connection.run(
        f"{ADD_RESPONSE} SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? "
        "WHERE EXISTS (SELECT 1 FROM responses WHERE owner = ? AND id = ? AND conversation = ?)",
        (*values, owner.key, at.parent, at.conversation),
    )
    if not added:
        raise response_not_found()


async def _busy(connection: Connection, owner: Owner, conversation: str) -> ConversationBusy:
    found = await connection.rows(
        "SELECT running, head FROM conversations WHERE owner = ? AND id = ?", (owner.key, conversation)
    )
    running, head = found[0] if found else (None, None)
    # Nothing may be running any more: then another request has created the conversation and ended meanwhile.
    return conversation_busy(running or head or "")


async def end_lost(connection: Connection, owner: Owner, response_id: str) -> None:
    """End a response whose process is gone as `failed`. One that has ended meanwhile stays as it is, and has used its
    decisions."""
    for graph, created_at in await connection.rows(
        "SELECT graph, created_at FROM responses WHERE owner = ? AND id = ? AND status IN ('queued', 'in_progress')",
        (owner.key, response_id),
    ):
        steered = await connection.rows(
            "UPDATE responses SET status = 'failed', packed = ? WHERE owner = ? AND id = ? RETURNING steers",
            (packed_response(lost_response(response_id, graph, created_at)), owner.key, response_id),
        )
        if steered and steered[0][0]:
            await fail_steers(connection, owner, response_id, ResponseNotActive.code)
        await _free_decisions(connection, owner, response_id)


async def _take_decisions(connection: Connection, owner: Owner, new: NewResponse) -> None:
    """Record the decisions that a run brings or uses. The condition lets no approval be used twice."""
    for one in new.decisions:
        decision = decision_json(one.decision)
        taken = await connection.run(
            "UPDATE approvals SET decision = ?, answered_by = COALESCE(answered_by, ?), used_by = ? WHERE owner = ? "
            "AND id = ? AND conversation = ? AND used_by IS NULL AND (decision IS NULL OR decision = ?)",
            (
                decision,
                new.id,
                new.id if one.used else None,
                owner.key,
                one.approval,
                new.continuation.conversation,
                decision,
            ),
        )
        if not taken:
            raise approval_answered()


async def _free_decisions(connection: Connection, owner: Owner, response_id: str) -> None:
    """Take back the decisions of a run without effect. Those that earlier requests brought stay."""
    await connection.run(
        "UPDATE approvals SET used_by = NULL WHERE owner = ? AND used_by = ?", (owner.key, response_id)
    )
    await connection.run(
        "UPDATE approvals SET decision = NULL, answered_by = NULL WHERE owner = ? AND answered_by = ?",
        (owner.key, response_id),
    )


def decision_json(decision: Mapping[str, Any]) -> str:
    """The same decision is always the same text."""
    return orjson.dumps(decision, option=orjson.OPT_SORT_KEYS).decode()


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))


def _lists(values: Collection[str]) -> Iterator[list[str]]:
    """The values in lists that fit into a statement."""
    every = list(values)
    for start in range(0, len(every), MOST_IN_LIST):
        yield every[start : start + MOST_IN_LIST]

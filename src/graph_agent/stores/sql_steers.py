"""The statements behind steers, for SQLite and PostgreSQL: accepted while a response is in progress, and dealt with in
the transaction that ends it.

`responses.steers` counts those that are queued. Accepting changes it in the row that the end of the response changes
too. So of both, one waits for the other, and ending a response that nobody steers takes no statement more.
"""

from collections.abc import Callable, Sequence

import orjson

from graph_agent.errors import (
    ConversationBusy,
    IdempotencyKeyUsed,
    ResponseCompleted,
    ResponseNotActive,
    ResponseNotFound,
    TooManySteers,
)
from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.records import EndedResponse, NewResponse
from graph_agent.stores.sql_rows import UNDER_WAY, Row, as_json
from graph_agent.stores.steer_records import SUCCESSOR_FAILED, NewSteer, SteerLimits, SteersQueued, StoredSteer

QUEUED = "successor IS NULL AND failed IS NULL"
"""The condition of steers that wait."""

STEER = "id, response, input, created_at, successor, failed"
"""The columns that `_stored` reads."""

NOT_FOUND = "there is no such response, or it is not yours"


class SqlSteers:
    """The steers of responses. Runs within the transactions of responses, and in some of its own."""

    def __init__(self, database: Database, *, clock: Callable[[], float]) -> None:
        """`clock` is that of the leases of conversations."""
        self._database = database
        self._clock = clock

    # -- transactions of their own ------------------------------------------------------------------------------------

    async def accept(self, owner: Owner, new: NewSteer, *, limits: SteerLimits) -> StoredSteer:
        """See `ResponseStore.steer`."""
        now, text = self._clock(), as_json(list(new.input))

        async def work(connection: Connection) -> StoredSteer:
            if new.key is not None and (known := await _with_key(connection, owner, new)) is not None:
                return known
            # A run in the background holds its conversation for ever, and one in the foreground as long as its process
            # is heard of.
            counted = await connection.rows(
                "UPDATE responses SET steers = steers + 1 WHERE owner = ? AND id = ? AND kind = 'response' "
                "AND status IN ('queued', 'in_progress') AND EXISTS (SELECT 1 FROM conversations c WHERE "
                "c.owner = responses.owner AND c.running = responses.id AND c.busy_until > ?) RETURNING steers",
                (owner.key, new.response, now),
            )
            if not counted:
                raise await _why_not(connection, owner, new.response)
            place, size = await _queue(connection, owner, new.response)
            if counted[0][0] > limits.most or size + new.size > limits.most_bytes:
                raise TooManySteers(
                    f"{counted[0][0] - 1} messages with {size} bytes wait for this response already: wait until its "
                    "successor has begun, and steer that one"
                )
            await connection.run(
                "INSERT INTO steers (owner, id, response, place, input, size, key, digest, created_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (owner.key, new.id, new.response, place, text, new.size, new.key, new.digest, now),
            )
            running = await connection.rows(
                "SELECT process FROM runs WHERE owner = ? AND response = ? AND process IS NOT NULL",
                (owner.key, new.response),
            )
            await connection.announce([process for (process,) in running])
            return StoredSteer(id=new.id, response=new.response, input=new.input, created_at=now, status="queued")

        return await self._database.write(work)

    async def of(self, owner: Owner, response_id: str) -> Sequence[StoredSteer]:
        """See `ResponseStore.steers`."""

        async def work(connection: Connection) -> Sequence[StoredSteer]:
            return await _rows(connection, owner, response_id, "")

        return await self._database.read(work)

    # -- within the transactions of responses -------------------------------------------------------------------------

    async def settle(self, connection: Connection, owner: Owner, response_id: str, ended: EndedResponse) -> int:
        """Deal with what is queued for a response that ends. What its successor takes is taken when that one begins.

        Returns how many steers are given back.

        Raises:
            SteersQueued: the end does not deal with all of it.
        """
        if ended.leaves_steers:
            return 0
        if ended.status in ("failed", "cancelled") or ended.fails_steers:
            code = SUCCESSOR_FAILED if ended.fails_steers else ResponseNotActive.code
            return await fail_steers(connection, owner, response_id, code)
        queued = await _rows(connection, owner, response_id, f"AND {QUEUED}")
        taken = () if ended.successor is None else ended.successor.new.steers
        if [one.id for one in queued] != list(taken):
            raise SteersQueued(queued)
        return 0

    async def take(self, connection: Connection, owner: Owner, new: NewResponse) -> None:
        """Let a response that begins take the steers of its parent.

        Raises:
            ConversationBusy: another response has taken them meanwhile.
        """
        for steer in new.steers:
            taken = await connection.run(
                f"UPDATE steers SET successor = ? WHERE owner = ? AND id = ? AND {QUEUED}",
                (new.id, owner.key, steer),
            )
            if not taken:
                raise ConversationBusy(
                    "another request has just begun with the messages that wait for this one: send it again",
                    running=new.continuation.parent or "",
                )
        await connection.run(
            "UPDATE responses SET steers = 0 WHERE owner = ? AND id = ?", (owner.key, new.continuation.parent)
        )


async def fail_steers(connection: Connection, owner: Owner, response_id: str, code: str) -> int:
    """Give what is queued for a response back, with this code. Returns how many steers that were."""
    count = await connection.run(
        f"UPDATE steers SET failed = ? WHERE owner = ? AND response = ? AND {QUEUED}",
        (code, owner.key, response_id),
    )
    await connection.run("UPDATE responses SET steers = 0 WHERE owner = ? AND id = ?", (owner.key, response_id))
    return count


async def _with_key(connection: Connection, owner: Owner, new: NewSteer) -> StoredSteer | None:
    found = await connection.rows(
        f"SELECT {STEER}, digest FROM steers WHERE owner = ? AND key = ?", (owner.key, new.key)
    )
    if not found:
        return None
    if found[0][-1] != new.digest or found[0][1] != new.response:
        raise IdempotencyKeyUsed(
            "the `Idempotency-Key` was sent before with another request: choose another key for this one"
        )
    return _stored(found[0])


async def _queue(connection: Connection, owner: Owner, response_id: str) -> tuple[int, int]:
    """The place of the next steer, and the bytes of those that wait."""
    found = await connection.rows(
        f"SELECT COALESCE(MAX(place), -1) + 1, CAST(COALESCE(SUM(CASE WHEN {QUEUED} THEN size ELSE 0 END), 0) AS "
        "INTEGER) FROM steers WHERE owner = ? AND response = ?",
        (owner.key, response_id),
    )
    place, size = found[0]
    return place, size


async def _why_not(
    connection: Connection, owner: Owner, response_id: str
) -> ResponseNotFound | ResponseCompleted | ResponseNotActive:
    found = await connection.rows(
        "SELECT status, kind FROM responses WHERE owner = ? AND id = ?", (owner.key, response_id)
    )
    if not found or found[0][1] != "response":
        return ResponseNotFound(NOT_FOUND)
    if found[0][0] in ("completed", "incomplete"):
        return ResponseCompleted(
            "the response has ended, so it cannot be steered: send the messages as a new request that follows it"
        )
    why = "its process is gone" if found[0][0] in UNDER_WAY else f"it ended {found[0][0]}"
    return ResponseNotActive(f"the response cannot be steered, because {why}: send the messages as a new request")


async def _rows(connection: Connection, owner: Owner, response_id: str, condition: str) -> Sequence[StoredSteer]:
    found = await connection.rows(
        f"SELECT {STEER} FROM steers WHERE owner = ? AND response = ? {condition} ORDER BY place",
        (owner.key, response_id),
    )
    return [_stored(row) for row in found]


def _stored(row: Row) -> StoredSteer:
    id_, response, text, created_at, successor, failed = row[:6]
    return StoredSteer(
        id=id_,
        response=response,
        input=orjson.loads(text),
        created_at=created_at,
        status="taken" if successor else "failed" if failed else "queued",
        successor=successor,
        error=failed,
    )

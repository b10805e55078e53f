"""Deletes everything of an owner in one transaction."""

from graph_agent.errors import ConversationBusy
from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection
from graph_agent.stores.memory_records import Forgotten
from graph_agent.stores.sql_responses import DeleteCheckpoints
from graph_agent.stores.sql_runs import DELETABLE
from graph_agent.stores.sql_usage import forget_usage

OWNED = (
    "items",
    "approvals",
    "responses",
    "memories",
    "events",
    "idempotency_keys",
    "webhook_deliveries",
    "schedules",
    "steers",
    "runs",
)
"""The other tables with a column `owner` whose rows are deleted."""

KEPT = ("usage", "limit_counters", "limit_grants", "reservations")
"""Those with the sums of usage, which stay without a name, and with what counts against the limits of a day, which
stays for that day."""


async def forget(
    connection: Connection, owner: Owner, *, delete_checkpoints: DeleteCheckpoints, now: float
) -> Forgotten:
    """Delete the conversations of an owner with all that is in them, and the memories.

    Raises:
        ConversationBusy: a run is in progress. Nothing was deleted.
    """
    # First, because a run that begins meanwhile waits for it.
    threads = await connection.rows(
        f"DELETE FROM conversations WHERE owner = ? AND {DELETABLE} RETURNING thread",
        (owner.key, now),
    )
    busy = await connection.rows(
        "SELECT c.running FROM conversations c LEFT JOIN runs r ON r.owner = c.owner AND r.response = c.running "
        # One in the foreground first, because it cannot be cancelled for its owner.
        "WHERE c.owner = ? AND c.running IS NOT NULL ORDER BY COALESCE(r.background, 0) LIMIT 1",
        (owner.key,),
    )
    if busy:
        raise ConversationBusy(
            f"response {busy[0][0]} is in progress: wait until it has ended, and then delete everything",
            running=busy[0][0],
        )
    gone = {table: await connection.run(f"DELETE FROM {table} WHERE owner = ?", (owner.key,)) for table in OWNED}
    await forget_usage(connection, owner)
    return Forgotten(
        responses=gone["responses"],
        conversations=len(threads),
        checkpoints=sum([await delete_checkpoints(connection, thread) for (thread,) in threads]),
        memories=gone["memories"],
    )

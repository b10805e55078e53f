"""Runs in PostgreSQL, whose events are committed with a single statement."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from graph_agent.stores.database import Connection
from graph_agent.stores.run_records import EventBatch
from graph_agent.stores.sql_events import EVENTS_PER_ROW, rows_of
from graph_agent.stores.sql_runs import SqlRuns

if TYPE_CHECKING:
    # Imports psycopg.
    from graph_agent.stores.postgres_database import PostgresDatabase

APPEND = """
    WITH given AS (
        SELECT * FROM unnest(
            CAST(? AS TEXT[]), CAST(? AS TEXT[]), CAST(? AS INTEGER[]), CAST(? AS INTEGER[]), CAST(? AS INTEGER[]),
            CAST(? AS BYTEA[])
        ) AS given (owner, response, attempt, first, last, packed)
    ), held AS (
        SELECT given.* FROM runs JOIN given ON given.owner = runs.owner AND given.response = runs.response
        WHERE runs.attempt = given.attempt AND runs.state = 'running' AND runs.events = given.first
        ORDER BY runs.owner, runs.response FOR UPDATE OF runs
    ), counted AS (
        UPDATE runs SET events = held.last FROM held WHERE runs.owner = held.owner AND runs.response = held.response
        RETURNING runs.response
    ), added AS (
        INSERT INTO events (owner, response, first, body, packed) SELECT owner, response, first, '', packed FROM held
    )
    SELECT response, pg_notify(?, response) FROM counted"""
"""Locks the runs in one order, compares the attempts, counts the events, inserts them, and announces them."""


class PostgresRuns(SqlRuns):
    """See `RunStore`. Events are what is written most, and a transaction of several statements would take five round
    trips for them."""

    def __init__(self, database: "PostgresDatabase", *, clock: Callable[[], float]) -> None:
        super().__init__(database, clock=clock)
        self._postgres = database

    async def append(self, batches: Sequence[EventBatch]) -> Collection[str]:
        """See `RunStore.append`."""
        small = [one for one in batches if 0 < len(one.events) <= EVENTS_PER_ROW]
        parameters = [list(column) for column in zip(*map(_row, small), strict=True)]

        async def work(connection: Connection) -> set[str]:
            return {response for response, _ in await connection.rows(APPEND, (*parameters, self._postgres.channel))}

        taken = await self._postgres.at_once(work) if small else set()
        # The others are long, or committed already, or their right is lost.
        return await super().append([one for one in batches if one.right.response not in taken])


def _row(batch: EventBatch) -> tuple[str, str, int, int, int, bytes]:
    right = batch.right
    [(owner, response, first, _, packed)] = rows_of((right.owner.key, right.response), batch.first, batch.events)
    return owner, response, right.attempt, first, first + len(batch.events), packed

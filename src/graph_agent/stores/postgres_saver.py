"""LangGraph's checkpoints in PostgreSQL. Imports psycopg and LangGraph."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncCursor
from psycopg.rows import DictRow

from graph_agent.stores.postgres_database import PostgresDatabase


class PostgresSaver(AsyncPostgresSaver):
    """The saver of one run. Runs share the pool and not a saver, because a saver does one call at a time.

    Its methods raise `StoreUnavailable` if the database does not answer.
    """

    def __init__(self, database: PostgresDatabase, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(database.pool, serde=serde)
        self._database = database

    # Every statement of the base class is executed on this cursor.
    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        async with self._database.answering(), super()._cursor(pipeline=pipeline) as cursor:
            yield cursor


async def set_up_savers(database: PostgresDatabase) -> None:
    """Create the tables of the savers, or bring them up to date. One process at a time does it."""
    async with database.alone() as connection:
        # The saver sets the kind of its rows itself.
        await AsyncPostgresSaver(connection).setup()  # type: ignore[arg-type]

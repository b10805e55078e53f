"""The store in PostgreSQL, at a URL or in Lakebase. psycopg and LangGraph are imported when it is opened."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graph_agent.errors import StoreUnavailable
from graph_agent.identity.owner import Owner
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.stores.database import Connection
from graph_agent.stores.forgetting import forget
from graph_agent.stores.memory_records import Forgotten
from graph_agent.stores.postgres_runs import PostgresRuns
from graph_agent.stores.run_records import Right
from graph_agent.stores.schema import bring_up_to_date
from graph_agent.stores.sql_conversations import SqlConversations
from graph_agent.stores.sql_deliveries import SqlDeliveries
from graph_agent.stores.sql_memories import BY_WORDS, MemoryOptions, SqlMemories
from graph_agent.stores.sql_schedules import SqlSchedules
from graph_agent.stores.sql_secrets import kept_secret
from graph_agent.stores.sql_usage import SqlUsage
from graph_agent.stores.store import Deliveries, Memories, ResponseStore, RunStore, Schedules, Signals, UsageStore
from graph_agent.threads import run_in_service_thread

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from graph_agent.stores.postgres_connection import SignIn
    from graph_agent.stores.postgres_database import PostgresDatabase
    from graph_agent.stores.postgres_signals import PostgresSignals

CHECKPOINT_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
"""The tables of LangGraph's saver that have the column `thread_id`."""


class PostgresStore:
    """A `Store` in a PostgreSQL database, which several processes may use.

    `sign_in` is called once, in a thread, when the store is opened for the first time.
    """

    def __init__(
        self,
        sign_in: "Callable[[], SignIn]",
        *,
        schema: str,
        memories: MemoryOptions = BY_WORDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sign_in = sign_in
        self._memory_options = memories
        self._schema = schema
        self._clock = clock
        self._database: PostgresDatabase | None = None
        self._responses: SqlConversations | None = None
        self._runs: PostgresRuns | None = None
        self._signals: PostgresSignals | None = None
        self._memories: SqlMemories | None = None

    @property
    def responses(self) -> ResponseStore:
        """See `Store.responses`."""
        if self._responses is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return self._responses

    @property
    def memories(self) -> Memories:
        """See `Store.memories`."""
        if self._memories is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return self._memories

    @property
    def runs(self) -> RunStore:
        """See `Store.runs`."""
        if self._runs is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return self._runs

    @property
    def schedules(self) -> Schedules:
        """See `Store.schedules`."""
        if self._database is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return SqlSchedules(self._database)

    @property
    def deliveries(self) -> Deliveries:
        """See `Store.deliveries`."""
        if self._database is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return SqlDeliveries(self._database)

    @property
    def usage(self) -> UsageStore:
        """See `Store.usage`."""
        if self._database is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return SqlUsage(self._database)

    @property
    def signals(self) -> Signals:
        """See `Store.signals`."""
        if self._signals is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return self._signals

    @property
    def may_be_shared(self) -> bool:
        """See `Store.may_be_shared`."""
        return True

    async def forget(self, owner: Owner) -> Forgotten:
        """See `Store.forget`."""
        if self._database is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        now = self._clock()
        return await self._database.write(
            lambda connection: forget(connection, owner, delete_checkpoints=_delete_checkpoints, now=now)
        )

    async def secret(self, name: str, made: bytes) -> bytes:
        """See `Store.secret`."""
        if self._database is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return await kept_secret(self._database, name, made)

    async def open(self) -> None:
        """See `Store.open`. After a `StoreUnavailable` the next `open` tries again."""
        database = await self._connectable()
        await database.open()
        await bring_up_to_date(database)
        from graph_agent.stores.postgres_saver import set_up_savers

        await set_up_savers(database)
        self._runs = PostgresRuns(database, clock=self._clock)
        self._responses = SqlConversations(
            database, runs=self._runs, delete_checkpoints=_delete_checkpoints, clock=self._clock
        )
        self._memories = SqlMemories(database, options=self._memory_options, clock=self._clock)

    def checkpointer(self, right: Right | None = None) -> "BaseCheckpointSaver[Any]":
        """See `Store.checkpointer`."""
        from graph_agent.stores.postgres_saver import PostgresSaver
        from graph_agent.stores.serializer import checkpoint_serializer

        if self._database is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return PostgresSaver(self._database, serde=checkpoint_serializer(), right=right)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        signals, self._signals = self._signals, None
        database, self._database, self._responses, self._memories = self._database, None, None, None
        self._runs = None
        if signals is not None:
            await signals.aclose()
        if database is not None:
            await database.aclose()

    async def check(self) -> str:
        """Connect and look at the rights, without creating anything. Returns a line about it.

        Raises:
            StoreUnavailable: the database does not answer, or the user lacks a right.
        """
        database = await self._connectable()
        from graph_agent.stores.postgres_access import check_access

        return await check_access(database, self._schema)

    async def grant(self, role: str) -> list[str]:
        """Grant a role what it needs to use the store. Returns the statements.

        Raises:
            BadSetting: it is no name of a role.
            StoreUnavailable: the database does not answer, has no such role, or the user may not grant this.
        """
        database = await self._connectable()
        from graph_agent.stores.postgres_access import grant_access

        return await grant_access(database, self._schema, role)

    async def _connectable(self) -> "PostgresDatabase":
        if self._database is None:
            made = await run_in_service_thread(self._made)
            self._database, self._signals = made
            return made[0]
        return self._database

    def _made(self) -> "tuple[PostgresDatabase, PostgresSignals]":
        with IMPORT_LOCK:
            # Those that are not used here are imported too, so that `open` and `check` do not do it on the event loop.
            # LangChain takes seconds.
            from graph_agent.stores import postgres_access, postgres_database, postgres_saver  # noqa: F401
            from graph_agent.stores.postgres_signals import PostgresSignals

        sign_in = self._sign_in()
        database = postgres_database.PostgresDatabase(sign_in, schema=self._schema)
        return database, PostgresSignals(sign_in, schema=self._schema)


async def _delete_checkpoints(connection: Connection, thread: str) -> int:
    gone = {
        name: await connection.run(f"DELETE FROM {name} WHERE thread_id = ?", (thread,)) for name in CHECKPOINT_TABLES
    }
    return gone["checkpoints"]

"""The stores that need no server: a SQLite file, and memory."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection
from graph_agent.stores.forgetting import forget
from graph_agent.stores.memory_records import Forgotten
from graph_agent.stores.run_records import Right
from graph_agent.stores.schema import bring_up_to_date
from graph_agent.stores.signals import PolledSignals
from graph_agent.stores.sql_conversations import SqlConversations
from graph_agent.stores.sql_deliveries import SqlDeliveries
from graph_agent.stores.sql_memories import BY_WORDS, MemoryOptions, SqlMemories
from graph_agent.stores.sql_runs import SqlRuns
from graph_agent.stores.sql_schedules import SqlSchedules
from graph_agent.stores.sql_secrets import kept_secret
from graph_agent.stores.sql_usage import SqlUsage
from graph_agent.stores.sqlite_database import SqliteDatabase
from graph_agent.stores.store import Deliveries, Memories, ResponseStore, RunStore, Schedules, Signals, UsageStore

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

CHECKPOINT_TABLES = {
    "checkpoints": "thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL, "
    "parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB, "
    "PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)",
    "writes": "thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL, "
    "task_id TEXT NOT NULL, task_path TEXT NOT NULL DEFAULT '', idx INTEGER NOT NULL, channel TEXT NOT NULL, "
    "type TEXT, value BLOB, PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)",
}
"""The tables that LangGraph's SQLite saver uses. They are created here, because the saver creates them only at its
first call, and importing it takes seconds."""


class SqliteStore:
    """A `Store` in one SQLite file, which several processes may use."""

    def __init__(
        self,
        path: Path | None,
        *,
        memories: MemoryOptions = BY_WORDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._clock = clock
        self._database = SqliteDatabase(path, announce=lambda topics: self._signals.announce(topics))
        self._signals = PolledSignals(None if path is None else self._database.version)
        self._runs = SqlRuns(self._database, clock=clock)
        self._responses = SqlConversations(
            self._database, runs=self._runs, delete_checkpoints=_delete_checkpoints, clock=clock
        )
        self._memories = SqlMemories(self._database, options=memories, clock=clock)
        self._schedules = SqlSchedules(self._database)
        self._deliveries = SqlDeliveries(self._database)
        self._usage = SqlUsage(self._database)

    @property
    def responses(self) -> ResponseStore:
        """See `Store.responses`."""
        return self._responses

    @property
    def memories(self) -> Memories:
        """See `Store.memories`."""
        return self._memories

    @property
    def runs(self) -> RunStore:
        """See `Store.runs`."""
        return self._runs

    @property
    def schedules(self) -> Schedules:
        """See `Store.schedules`."""
        return self._schedules

    @property
    def deliveries(self) -> Deliveries:
        """See `Store.deliveries`."""
        return self._deliveries

    @property
    def usage(self) -> UsageStore:
        """See `Store.usage`."""
        return self._usage

    @property
    def signals(self) -> Signals:
        """See `Store.signals`."""
        return self._signals

    @property
    def may_be_shared(self) -> bool:
        """See `Store.may_be_shared`."""
        return False

    async def forget(self, owner: Owner) -> Forgotten:
        """See `Store.forget`."""
        now = self._clock()
        return await self._database.write(
            lambda connection: forget(connection, owner, delete_checkpoints=_delete_checkpoints, now=now)
        )

    async def secret(self, name: str, made: bytes) -> bytes:
        """See `Store.secret`."""
        return await kept_secret(self._database, name, made)

    async def open(self) -> None:
        """See `Store.open`."""
        await self._database.open()
        try:
            await bring_up_to_date(self._database)
            await self._database.migrate(_create_checkpoint_tables)
        except BaseException:
            await self._database.aclose()
            raise
        self._signals.open()

    def checkpointer(self, right: Right | None = None) -> "BaseCheckpointSaver[Any]":
        """See `Store.checkpointer`."""
        # Imports LangChain, which the graph that is run has done already.
        from graph_agent.stores.serializer import checkpoint_serializer
        from graph_agent.stores.sqlite_checkpoints import SqliteCheckpoints

        return SqliteCheckpoints(self._database, checkpoint_serializer(), right=right)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        await self._signals.aclose()
        await self._database.aclose()


class MemoryStore(SqliteStore):
    """A `Store` that ends with the process."""

    def __init__(self, *, memories: MemoryOptions = BY_WORDS, clock: Callable[[], float] = time.time) -> None:
        super().__init__(None, memories=memories, clock=clock)

    async def bytes_of(self, owner: Owner, conversation: str) -> int:
        """About how many bytes a conversation of this owner takes, with its checkpoints. 0 if there is none."""
        return await self._database.read(partial(_bytes_of, owner=owner, conversation=conversation))


_SIZES = (
    "SELECT SUM(LENGTH(CAST(i.body AS BLOB))) FROM items i JOIN responses r ON r.owner = i.owner AND r.id = i.response "
    "WHERE r.owner = ?1 AND r.conversation = ?2",
    "SELECT SUM(COALESCE(LENGTH(packed), 0) + COALESCE(LENGTH(CAST(response AS BLOB)), 0)) FROM responses "
    "WHERE owner = ?1 AND conversation = ?2",
    "SELECT SUM(LENGTH(checkpoint) + LENGTH(metadata)) FROM checkpoints WHERE thread_id = "
    "(SELECT thread FROM conversations WHERE owner = ?1 AND id = ?2)",
    "SELECT SUM(LENGTH(value)) FROM writes WHERE thread_id = "
    "(SELECT thread FROM conversations WHERE owner = ?1 AND id = ?2)",
)
"""The bytes of what grows with a conversation."""


async def _bytes_of(connection: Connection, *, owner: Owner, conversation: str) -> int:
    found = [await connection.rows(statement, (owner.key, conversation)) for statement in _SIZES]
    return sum(rows[0][0] or 0 for rows in found)


async def _create_checkpoint_tables(connection: Connection) -> None:
    for name, columns in CHECKPOINT_TABLES.items():
        await connection.run(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")


async def _delete_checkpoints(connection: Connection, thread: str) -> int:
    gone = {
        name: await connection.run(f"DELETE FROM {name} WHERE thread_id = ?", (thread,)) for name in CHECKPOINT_TABLES
    }
    return gone["checkpoints"]

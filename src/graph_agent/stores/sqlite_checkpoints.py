"""LangGraph's SQLite saver on the connections of our database. Each call crosses threads once."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite import SqliteSaver

from graph_agent.stores.fence import HELD, NO_CRASHES, is_of_a_node, is_progress, key_of, lost
from graph_agent.stores.run_records import Right
from graph_agent.stores.sqlite_database import SqliteDatabase, SqliteThread

T = TypeVar("T")


class SqliteCheckpoints(BaseCheckpointSaver[str]):
    """The saver of one run. Make it on the event loop; its synchronous methods are for other threads."""

    def __init__(self, database: SqliteDatabase, serializer: SerializerProtocol, *, right: Right | None = None) -> None:
        """With `right`, each write raises `LeaseLost` if it is lost."""
        super().__init__(serde=serializer)
        self._database = database
        self._right = right
        self._loop = asyncio.get_running_loop()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._use(self._database.reader, lambda saver: saver.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        for one in await self._use(
            self._database.reader, lambda saver: list(saver.list(config, filter=filter, before=before, limit=limit))
        ):
            yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await self._write(
            lambda saver: saver.put(config, checkpoint, metadata, new_versions), progress=is_progress(metadata)
        )

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._write(
            lambda saver: saver.put_writes(config, writes, task_id, task_path), progress=is_of_a_node(task_id)
        )

    async def adelete_thread(self, thread_id: str) -> None:
        await self._use(self._database.writer, lambda saver: saver.delete_thread(thread_id))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._use(
            self._database.reader, lambda saver: saver.get_delta_channel_history(config=config, channels=channels)
        )

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._wait(self.aget_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        async def every() -> Sequence[CheckpointTuple]:
            return [one async for one in self.alist(config, filter=filter, before=before, limit=limit)]

        return iter(self._wait(every()))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self._wait(self.aput(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._wait(self.aput_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        self._wait(self.adelete_thread(thread_id))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return self._wait(self.aget_delta_channel_history(config=config, channels=channels))

    def get_next_version(self, current: str | None, channel: None) -> str:
        # The method reads nothing of its object.
        return SqliteSaver.get_next_version(self, current, channel)  # type: ignore[arg-type]

    async def _write(self, write: Callable[[SqliteSaver], T], *, progress: bool) -> T:
        right = self._right
        if right is None:
            return await self._use(self._database.writer, write)

        def in_one_transaction(saver: SqliteSaver) -> T:
            # The saver commits it.
            saver.conn.execute("BEGIN IMMEDIATE")
            try:
                _compare(saver.conn, right, progress=progress)
                return write(saver)
            finally:
                if saver.conn.in_transaction:
                    saver.conn.rollback()

        return await self._use(self._database.writer, in_one_transaction)

    async def _use(self, thread: SqliteThread, use: Callable[[SqliteSaver], T]) -> T:
        def with_saver(connection: sqlite3.Connection) -> T:
            saver = SqliteSaver(connection, serde=self.serde)
            # The tables exist since the store was opened.
            saver.is_setup = True
            return use(saver)

        return await thread.use(with_saver)

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()


def _compare(connection: sqlite3.Connection, right: Right, *, progress: bool) -> None:
    found = connection.execute(HELD, key_of(right)).fetchone()
    if found is None:
        raise lost()
    if progress and found[0]:
        connection.execute(NO_CRASHES, key_of(right)[:2])

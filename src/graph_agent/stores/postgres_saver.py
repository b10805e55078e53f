"""LangGraph's checkpoints in PostgreSQL. Imports psycopg and LangGraph."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncCursor
from psycopg.rows import DictRow

from graph_agent.errors import StoreUnavailable
from graph_agent.stores.fence import HELD, NO_CRASHES, is_of_a_node, is_progress, key_of, lost
from graph_agent.stores.postgres_connection import BoundedConnection
from graph_agent.stores.postgres_database import PostgresDatabase
from graph_agent.stores.run_records import Right
from graph_agent.threads import run_in_service_thread

AWAY_SECONDS = 60.0
"""How long a run with a right waits for a database that does not answer, to read or to write a checkpoint."""

RETRY_SECONDS = 0.5
"""The pause before it is tried again."""

T = TypeVar("T")

_PROGRESS: ContextVar[bool] = ContextVar("graph_agent_progress", default=False)

MOST_ON_LOOP = 16_384
"""Bytes that are read on the event loop. Another thread would take longer to start than they take to read."""


class PostgresSaver(AsyncPostgresSaver):
    """The saver of one run. Runs share the pool and not a saver, because a saver does one call at a time.

    Its methods raise `StoreUnavailable` if the database does not answer.
    """

    def __init__(self, database: PostgresDatabase, *, serde: SerializerProtocol, right: Right | None = None) -> None:
        """With `right`, each write raises `LeaseLost` if it is lost."""
        super().__init__(database.pool, serde=serde)
        self._database = database
        self._right = right

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As the base class."""
        return await self._outlasting(partial(super().aget_tuple, config))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As the base class, which writes texts as JSON, and everything else as bytes. JSON of PostgreSQL cannot hold
        every text."""
        values = checkpoint["channel_values"]
        boxed = {name: Box(value) for name, value in values.items() if isinstance(value, str) and not _fits(value)}
        if boxed:
            checkpoint = cast("Checkpoint", {**checkpoint, "channel_values": {**values, **boxed}})
        with _progress(is_progress(metadata)):
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As the base class."""
        with _progress(is_of_a_node(task_id)):
            await super().aput_writes(config, writes, task_id, task_path)

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> list[tuple[str, str, str, str, str, bytes | None]]:
        opened = {name: value.text if isinstance(value, Box) else value for name, value in values.items()}
        return super()._dump_blobs(thread_id, checkpoint_ns, opened, versions)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As the base class, but a long history is read in a thread and not on the event loop."""
        ask = partial(super().aget_delta_channel_history, config=config, channels=channels)
        found: Any = await self._outlasting(ask)
        return cast("Mapping[str, DeltaChannelHistory]", await _read(found) if isinstance(found, Unread) else found)

    def _build_delta_channels_writes_history(self, **parts: Any) -> dict[str, DeltaChannelHistory]:
        size = sum(len(row["blob"] or b"") for row in parts["stage2_rows"])
        unread = Unread(partial(super()._build_delta_channels_writes_history, **parts), size)
        # The base class returns it to the method above.
        return cast("dict[str, DeltaChannelHistory]", unread)

    async def _load_checkpoint_tuple(self, value: DictRow) -> CheckpointTuple:
        rows = value["channel_values"] or []
        unread = Unread(partial(super()._load_blobs, rows), sum(len(one or b"") for _, _, one in rows))
        return await super()._load_checkpoint_tuple({**value, "channel_values": Read(await _read(unread))})

    def _load_blobs(self, blob_values: Any) -> dict[str, Any]:
        return blob_values.values if isinstance(blob_values, Read) else super()._load_blobs(blob_values)

    # Every statement of the base class is executed on this cursor.
    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        # The base class asks for a pipeline when it writes, and does not ask for results then.
        if pipeline and self._right is not None:
            collected = Collected()
            yield cast("AsyncCursor[DictRow]", collected)
            await self._write(self._right, collected)
            return
        async with self._database.answering(), super()._cursor(pipeline=pipeline) as cursor:
            yield cursor

    async def _write(self, right: Right, collected: "Collected") -> None:
        progress = _PROGRESS.get()

        # Statement by statement, and not in a pipeline: while a process that was stopped has sent only a part of a
        # pipeline, its transaction does not count as idle, and would keep its locks.
        async def work(connection: BoundedConnection) -> None:
            statements = self._database.statements(connection)
            held = await statements.rows(f"{HELD} {self._database.for_update}", key_of(right))
            if not held:
                raise lost()
            if progress and held[0][0]:
                await statements.run(NO_CRASHES, key_of(right)[:2])
            for query, parameters in collected.statements:
                await connection.execute(query, parameters)

        await self._outlasting(partial(self._database.in_transaction, work))

    async def _outlasting(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something that may be repeated. A run with a right waits for a database that does not answer: a graph
        cannot go on where a checkpoint is missing, and a run in the background has the time."""
        ends = time.monotonic() + (AWAY_SECONDS if self._right is not None else 0.0)
        while True:
            try:
                return await work()
            except StoreUnavailable:
                if time.monotonic() >= ends:
                    raise
                await asyncio.sleep(RETRY_SECONDS)


class Collected:
    """A cursor that only collects statements, so that a transaction begins when all of them are there: the values are
    written as bytes in between, in another thread."""

    def __init__(self) -> None:
        self.statements: list[tuple[Any, Any]] = []

    async def execute(self, query: Any, parameters: Any = None) -> None:
        """Execute a statement later."""
        self.statements.append((query, parameters))

    async def executemany(self, query: Any, parameters: Iterable[Any]) -> None:
        """Execute a statement later, once for each of the parameters."""
        self.statements += [(query, one) for one in parameters]


@contextmanager
def _progress(made: bool) -> Iterator[None]:
    """What is written inside of the block notes that the run has come further."""
    token = _PROGRESS.set(made)
    try:
        yield
    finally:
        _PROGRESS.reset(token)


@dataclass(frozen=True, slots=True)
class Unread:
    """Values that are still bytes, and the number of these bytes."""

    read: Callable[[], Any]
    size: int


@dataclass(frozen=True, slots=True)
class Read:
    """The values of channels that were read already."""

    values: dict[str, Any]


async def _read(unread: Unread) -> Any:
    """The values. Many are read in a thread, so that the event loop goes on."""
    return unread.read() if unread.size < MOST_ON_LOOP else await run_in_service_thread(unread.read)


@dataclass(frozen=True, slots=True)
class Box:
    """A text that is written as bytes."""

    text: str


def _fits(text: str) -> bool:
    """Whether PostgreSQL can keep the text as JSON: no NUL, and no half of a surrogate pair."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


async def set_up_savers(database: PostgresDatabase) -> None:
    """Create the tables of the savers, or bring them up to date. One process at a time does it."""
    async with database.alone() as connection:
        # The saver sets the kind of its rows itself.
        await AsyncPostgresSaver(connection).setup()  # type: ignore[arg-type]

"""LangGraph's checkpoints in PostgreSQL. Imports psycopg and LangGraph."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncCursor
from psycopg.rows import DictRow

from graph_agent.stores.postgres_database import PostgresDatabase


class PostgresSaver(AsyncPostgresSaver):
    """The saver of one run. Runs share the pool and not a saver, because a saver does one call at a time.

    Its methods raise `StoreUnavailable` if the database does not answer.
    """

    def __init__(self, database: PostgresDatabase, *, serde: SerializerProtocol) -> None:
        super().__init__(database.pool, serde=serde)
        self._database = database

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
        return await super().aput(config, checkpoint, metadata, new_versions)

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> list[tuple[str, str, str, str, str, bytes | None]]:
        opened = {name: value.text if isinstance(value, Box) else value for name, value in values.items()}
        return super()._dump_blobs(thread_id, checkpoint_ns, opened, versions)

    # Every statement of the base class is executed on this cursor.
    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        async with self._database.answering(), super()._cursor(pipeline=pipeline) as cursor:
            yield cursor


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

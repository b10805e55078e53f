"""News between the processes that share a PostgreSQL database, pushed by the database. Imports psycopg."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection, Error
from psycopg.sql import SQL, Identifier

from graph_agent.errors import StoreUnavailable
from graph_agent.stores.postgres_connection import BoundedConnection, SignIn, Watch, reason_of
from graph_agent.stores.signals import Listener, Listeners

if TYPE_CHECKING:
    from psycopg.abc import PQGen

logger = logging.getLogger(__name__)

CHECK_SECONDS = 15.0
"""A connection without news for this long is asked for a sign of life."""

RECONNECT_SECONDS = 0.5
"""The pause before the next try to connect."""

QUIET_SECONDS = 60.0
"""The connection is closed after nobody has listened for about this long."""


def channel_of(schema: str) -> str:
    """The name of the channel for the stores in this schema. Channels belong to the whole database."""
    return f"graph_agent_{hashlib.sha256(schema.encode()).hexdigest()[:32]}"


class ListeningConnection(BoundedConnection):
    """A connection that may wait for news without an end."""

    waits_for_news = False

    async def wait(self, gen: "PQGen[Any]", interval: float = 0.1, timeout: float | None = None) -> Any:
        """As the base class, but the connection stays open after a wait for news."""
        if self.waits_for_news:
            return await AsyncConnection.wait(self, gen, interval if timeout is None else timeout, timeout)
        return await super().wait(gen, interval, timeout)


class PostgresSignals:
    """The signals of a store. While somebody listens, it has one connection of its own, and opens it again by itself.

    After a time without a connection everybody is woken, because nobody knows what happened meanwhile.
    """

    def __init__(self, sign_in: SignIn, *, schema: str) -> None:
        self._listeners = Listeners()
        self._channel = channel_of(schema)
        self._failure: str | None = None
        self._how: dict[str, Any] = {
            "sign_in": sign_in,
            "watch": Watch(self._connected, self._failed),
            "setup": self._listen,
        }
        self._hearing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listening(self, topic: str) -> AsyncIterator[Listener]:
        """See `store.Signals.listening`."""
        async with self._listeners.listening(topic) as listener:
            if self._hearing is None or self._hearing.done():
                # Of the store, so it inherits nothing of the request that listens first.
                self._hearing = asyncio.create_task(self._hear(), context=Context())
            yield listener

    async def aclose(self) -> None:
        """Close the connection."""
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def _hear(self) -> None:
        while self._listeners:
            try:
                connection = await ListeningConnection.connect(**self._how)
                try:
                    self._listeners.wake_all()
                    await self._pass_on(connection)
                finally:
                    await connection.close()
            except (Error, OSError, StoreUnavailable) as error:
                self._failed(error)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _pass_on(self, connection: ListeningConnection) -> None:
        """Wake those whose topics are named, until nobody has listened for a while."""
        listened = time.monotonic()
        while self._listeners or time.monotonic() - listened < QUIET_SECONDS:
            connection.waits_for_news = True
            async for news in connection.notifies(timeout=CHECK_SECONDS):
                self._listeners.wake((news.payload,))
            connection.waits_for_news = False
            await connection.execute("SELECT 1")
            if self._listeners:
                listened = time.monotonic()

    async def _listen(self, connection: BoundedConnection) -> None:
        await connection.execute(SQL("LISTEN {}").format(Identifier(self._channel)))

    def _connected(self) -> None:
        if self._failure is not None:
            logger.info("the database of GRAPH_AGENT_STORE sends news again")
        self._failure = None

    def _failed(self, error: Exception) -> None:
        reason = error.message if isinstance(error, StoreUnavailable) else reason_of(error)
        if reason != self._failure:
            logger.warning("no news from the database of GRAPH_AGENT_STORE, which is asked each second: %s", reason)
        self._failure = reason

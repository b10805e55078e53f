"""The connections of one process to PostgreSQL. Imports psycopg."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from psycopg import OperationalError
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

from graph_agent.errors import StoreUnavailable
from graph_agent.stores.postgres_connection import (
    ANSWER_SECONDS,
    IDLE_SECONDS,
    REFUSED,
    STATEMENT_SECONDS,
    BoundedConnection,
    SignIn,
    Watch,
    reason_of,
)

logger = logging.getLogger(__name__)

MOST = 10
"""Open connections of a process."""

CHECKOUT_SECONDS = 5.0
"""The longest wait for a free connection."""

CHECK_SECONDS = 2.0
"""The longest wait for a sign of life of a connection that is about to be handed out."""

DOWN_SECONDS = 1.0
"""The same while the database does not answer: requests then fail soon."""

RECONNECT_SECONDS = 5.0
"""How long the pool tries to connect by itself. Afterwards it tries when a connection is needed. Its default of 300 s
makes pauses of minutes between attempts, and the database may be back much earlier."""

IDLE_CLOSE_SECONDS = 300.0
"""A connection that nothing used for this long is closed."""

LIFE_SECONDS = 1800.0
"""The longest life of a connection."""


_REPEATABLE: ContextVar[bool] = ContextVar("graph_agent_repeatable", default=False)


class ConnectionPool(AsyncConnectionPool[BoundedConnection]):
    """A pool that hands out only connections that answer, and knows why there are none."""

    def __init__(self, sign_in: SignIn, *, schema: str) -> None:
        self._session = SQL(
            "SET search_path TO {}; SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}"
        ).format(Identifier(schema), f"{STATEMENT_SECONDS}s", f"{IDLE_SECONDS}s")
        self._failure: str | None = None
        self._emptied_at = 0.0
        # psycopg logs the texts of the server and of libpq. The level applies to the whole process, as loggers do. A
        # process that has set another level than psycopg itself keeps it.
        library = logging.getLogger("psycopg")
        if library.level in (logging.NOTSET, logging.WARNING):
            library.setLevel(logging.CRITICAL)
        self._how: dict[str, Any] = {
            "sign_in": sign_in,
            "watch": Watch(self._connected, self._failed),
            "setup": self._set_up,
        }
        super().__init__(
            kwargs=self._how,
            connection_class=BoundedConnection,
            name="graph-agent",
            min_size=1,
            max_size=MOST,
            open=False,
            check=self._answers,
            timeout=CHECKOUT_SECONDS,
            max_idle=IDLE_CLOSE_SECONDS,
            max_lifetime=LIFE_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
        )

    @property
    def failure(self) -> str | None:
        """Why the last attempt to connect failed. `None` if it succeeded."""
        return self._failure

    async def try_to_connect(self) -> None:
        """Open a connection outside of the pool, and close it. Raises what the driver or the sign-in raises."""
        try:
            connection = await BoundedConnection.connect(**self._how)
        except OperationalError as error:
            if reason_of(error) is not REFUSED:
                raise
            # The password may have been an old one, and the sign-in has another one now.
            connection = await BoundedConnection.connect(**self._how)
        await connection.close()

    @asynccontextmanager
    async def for_repeatable(self) -> AsyncIterator[BoundedConnection]:
        """A connection for work that can be repeated if the connection turns out to be lost.

        It is not asked for a sign of life if it gave one just now, which saves a round trip.
        """
        token = _REPEATABLE.set(True)
        try:
            connection = await self.getconn()
        finally:
            _REPEATABLE.reset(token)
        try:
            async with connection:
                yield connection
        finally:
            await self.putconn(connection)

    async def getconn(self, timeout: float | None = None) -> BoundedConnection:
        """As the base class. While the database does not answer, the wait is short."""
        if timeout is None and self._failure is not None:
            timeout = DOWN_SECONDS
        return await super().getconn(timeout)

    async def _set_up(self, connection: BoundedConnection) -> None:
        await connection.execute(self._session)

    async def _answers(self, connection: BoundedConnection) -> None:
        if _REPEATABLE.get() and connection.seems_alive:
            return
        connection.patience = CHECK_SECONDS
        try:
            await self.check_connection(connection)
            connection.patience = ANSWER_SECONDS
        except Exception:
            # The server went away, and with it every connection of that time. The pool would find out one by one, with
            # growing pauses, until the request has waited too long.
            if connection.opened_at > self._emptied_at:
                self._emptied_at = time.monotonic()
                await self.drain()
            raise

    def _connected(self) -> None:
        if self._failure is not None:
            logger.info("the database of GRAPH_AGENT_STORE answers again")
        self._failure = None

    def _failed(self, error: Exception) -> None:
        reason = error.message if isinstance(error, StoreUnavailable) else reason_of(error)
        if reason != self._failure:
            logger.warning("no connection to the database of GRAPH_AGENT_STORE: %s", reason)
        self._failure = reason

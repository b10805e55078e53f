"""A PostgreSQL database. Imports psycopg, so import this module when the store is opened, not before."""

import asyncio
import hashlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from functools import lru_cache
from typing import Any, LiteralString, TypeVar, cast

from psycopg import AsyncConnection, Error, OperationalError
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from graph_agent.errors import StoreUnavailable
from graph_agent.stores.database import Work
from graph_agent.stores.postgres_connection import BoundedConnection, SignIn, reason_of, was_in_the_way, was_lost
from graph_agent.stores.postgres_pool import ConnectionPool
from graph_agent.stores.postgres_signals import channel_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 4
"""How often a transaction is tried that others are in the way of."""

PAUSE_SECONDS = 0.1
"""The longest pause before the next try. A random part of it is waited."""

MIGRATION_SECONDS = 300.0
"""The longest wait for one statement of a migration, such as for an index, and for another process that migrates."""

POLL_SECONDS = 0.1
"""How often a process asks whether it may migrate."""


class PostgresDatabase:
    """A pool of connections to a PostgreSQL database. Its tables are in a schema of their own.

    It recovers by itself. A connection is checked before it is handed out, and one that does not answer is replaced.
    """

    now = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
    """See `Database.now`."""

    for_update = "FOR UPDATE"
    """See `Database.for_update`."""

    def __init__(self, sign_in: SignIn, *, schema: str) -> None:
        self._sign_in = sign_in
        self._schema = schema
        self.channel = channel_of(schema)
        """Where news is announced."""
        self._pool: ConnectionPool | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            StoreUnavailable: the database does not answer. The next `open` tries again.
        """
        if self._pool is not None:
            return
        pool = ConnectionPool(self._sign_in, schema=self._schema)
        async with self.answering():
            # The pool would only say that there is no connection yet, and not why.
            await pool.try_to_connect()
            # In an empty context: the tasks of the pool outlive the request whose context this may be.
            await asyncio.create_task(pool.open(), context=Context())
        self._pool = pool

    async def read(self, work: Work[T]) -> T:
        """Do something that only reads. Each statement sees what was committed when it began."""
        # No transaction: at PostgreSQL's default isolation it would see the same, and cost two round trips.
        return await self._repeated(lambda connection: work(self.statements(connection)))

    async def at_once(self, work: Work[T]) -> T:
        """Execute a single statement that writes, in a transaction of its own.

        It is repeated if the connection is lost, although it may have been committed. So it must recognize that.
        """
        return await self.read(work)

    async def write(self, work: Work[T]) -> T:
        """Do something in one transaction, which is committed at the end, and rolled back if `work` raises.

        It is repeated if another transaction was in the way, or if the connection is lost before the end.
        """

        return await self.in_transaction(lambda connection: work(self.statements(connection)))

    async def in_transaction(self, work: Callable[[BoundedConnection], Awaitable[T]]) -> T:
        """The same for work on a connection of psycopg."""

        async def transaction(connection: BoundedConnection) -> T:
            async with connection.transaction():
                done = await work(connection)
                # From here on nobody knows whether it was committed.
                connection.may_be_repeated = False
            return done

        return await self._repeated(transaction)

    async def migrate(self, work: Work[T]) -> T:
        """The same, in a transaction that only one process at a time enters. The others wait."""
        async with self.alone() as connection, connection.transaction():
            return await work(self.statements(connection))

    def statements(self, connection: BoundedConnection) -> "Statements":
        """Our statements on a connection of psycopg."""
        return Statements(connection, self.channel)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[BoundedConnection]:
        """A connection in autocommit mode that only one process at a time has. The schema exists.

        The others poll, and no transaction of theirs is open meanwhile: an index that is built concurrently waits for
        every transaction, so a waiter in `pg_advisory_lock` would wait for it forever.
        """
        key = int.from_bytes(hashlib.sha256(f"graph-agent:{self._schema}".encode()).digest()[:8], signed=True)
        async with self._connection() as connection:
            try:
                await self._locked(connection, key)
                await connection.execute("SET statement_timeout = 0")
                # Nobody waits for the lock of a migration in a transaction.
                await connection.execute("SET idle_in_transaction_session_timeout = 0")
                connection.patience = MIGRATION_SECONDS
                await self._make_schema(connection)
                yield connection
            finally:
                # The lock belongs to the session, so it ends with the connection, whatever happened to the block.
                await connection.close()

    @property
    def pool(self) -> "AsyncConnectionPool[AsyncConnection[DictRow]]":
        """The pool for LangGraph's savers, which set the kind of their rows themselves."""
        return cast("AsyncConnectionPool[AsyncConnection[DictRow]]", self._open_pool())

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Raise `StoreUnavailable` in place of every error of the driver."""
        try:
            yield
        except Error as error:
            failure = self._pool.failure if self._pool is not None and isinstance(error, PoolTimeout) else None
            reason = failure or reason_of(error)
            if not isinstance(error, OperationalError):
                # A statement is wrong, or the schema is not what it expects.
                logger.error("a statement failed in the database of GRAPH_AGENT_STORE: %s", reason)
            raise StoreUnavailable(f"the database of GRAPH_AGENT_STORE does not answer: {reason}") from None

    async def aclose(self) -> None:
        """Close every connection."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(timeout=1.0)

    def _open_pool(self) -> ConnectionPool:
        if self._pool is None:
            raise StoreUnavailable("the database of GRAPH_AGENT_STORE is not open")
        return self._pool

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[BoundedConnection]:
        async with self.answering(), self._open_pool().connection() as connection:
            yield connection

    async def _repeated(self, work: Callable[[BoundedConnection], Awaitable[T]]) -> T:
        pool, lost = self._open_pool(), False
        async with self.answering():
            for left in reversed(range(ATTEMPTS)):
                connection: BoundedConnection | None = None
                try:
                    # After a loss, one that was asked for a sign of life.
                    async with pool.connection() if lost else pool.for_repeatable() as connection:
                        connection.may_be_repeated = True
                        return await work(connection)
                except Error as error:
                    lost_now = connection is not None and was_lost(error, connection)
                    if not left or not (was_in_the_way(error) or (lost_now and not lost)):
                        raise
                    lost = lost or lost_now
                # The transaction that was in the way gets a head start.
                await asyncio.sleep(random.uniform(0, PAUSE_SECONDS))
        raise AssertionError("the last attempt returns or raises")

    async def _locked(self, connection: BoundedConnection, key: int) -> None:
        try:
            async with asyncio.timeout(MIGRATION_SECONDS):
                while True:
                    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (key,))
                    row = await cursor.fetchone()
                    if row is not None and row[0]:
                        return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise StoreUnavailable(
                f"another process has been migrating the database of GRAPH_AGENT_STORE for {MIGRATION_SECONDS:g} s"
            ) from None

    async def _make_schema(self, connection: BoundedConnection) -> None:
        # Looked up first: `IF NOT EXISTS` needs the right to create schemas even if it exists.
        found = await connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self._schema,))
        if await found.fetchone() is None:
            await connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(self._schema)))


class Statements:
    """The statements of one transaction."""

    def __init__(self, connection: BoundedConnection, channel: str) -> None:
        self._connection = connection
        self._channel = channel

    async def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows."""
        cursor = await self._connection.execute(_translated(statement), _storable(parameters))
        return await cursor.fetchall()

    async def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Execute a statement and return the number of rows that it changed."""
        cursor = await self._connection.execute(_translated(statement), _storable(parameters))
        return cursor.rowcount

    async def run_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Execute a statement once for each sequence of parameters."""
        if parameters:
            await self._connection.cursor().executemany(
                _translated(statement), [_storable(some) for some in parameters]
            )

    async def announce(self, topics: Collection[str]) -> None:
        """Tell those who listen to these topics, in all processes, once the transaction is committed."""
        if topics:
            await self._connection.execute(
                "SELECT pg_notify(%s, topic) FROM unnest(CAST(%s AS TEXT[])) AS topic", (self._channel, list(topics))
            )


def _storable(parameters: Sequence[Any]) -> list[Any]:
    """The parameters without NUL, which PostgreSQL does not take. Only ids that clients chose can have it."""
    return [one.replace("\0", "\ufffd") if isinstance(one, str) and "\0" in one else one for one in parameters]


@lru_cache(maxsize=512)
def _translated(statement: str) -> LiteralString:
    """The statement with psycopg's placeholders. Statements are written in this project, never by a client."""
    return statement.replace("%", "%%").replace("?", "%s")

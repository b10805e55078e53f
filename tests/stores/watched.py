"""A store whose statements a test can count."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from graph_agent.stores.database import Connection, T, Work
from graph_agent.stores.schema import bring_up_to_date
from graph_agent.stores.sql_conversations import SqlConversations
from graph_agent.stores.sql_runs import SqlRuns
from graph_agent.stores.sqlite_database import SqliteDatabase


class WatchedStore:
    """Responses in memory. `transactions` has the statements of each transaction, in order."""

    def __init__(self, database: "Watched", clock: Callable[[], float]) -> None:
        self.transactions = database.transactions
        self.responses = SqlConversations(
            database, runs=SqlRuns(database), delete_checkpoints=no_checkpoints, clock=clock
        )


@asynccontextmanager
async def watched_store(clock: Callable[[], float]) -> AsyncIterator[WatchedStore]:
    database = Watched()
    await database.open()
    await bring_up_to_date(database)
    yield WatchedStore(database, clock)
    await database.aclose()


async def no_checkpoints(connection: Connection, thread: str) -> int:
    """These tests have no savers."""
    return 0


class Watched:
    """A database that records the statements of its transactions."""

    for_update = SqliteDatabase.for_update

    def __init__(self) -> None:
        self._database = SqliteDatabase(None)
        self.transactions: list[list[str]] = []

    async def open(self) -> None:
        await self._database.open()

    async def read(self, work: Work[T]) -> T:
        return await self._database.read(self._recorded(work))

    async def write(self, work: Work[T]) -> T:
        return await self._database.write(self._recorded(work))

    async def migrate(self, work: Work[T]) -> T:
        return await self._database.migrate(work)

    async def aclose(self) -> None:
        await self._database.aclose()

    def _recorded(self, work: Work[T]) -> Work[T]:
        statements: list[str] = []
        self.transactions.append(statements)
        return lambda connection: work(WatchedConnection(connection, statements))


class WatchedConnection:
    def __init__(self, connection: Connection, statements: list[str]) -> None:
        self._connection = connection
        self._statements = statements

    async def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self._statements.append(statement)
        return await self._connection.rows(statement, parameters)

    async def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        self._statements.append(statement)
        return await self._connection.run(statement, parameters)

    async def run_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        self._statements.append(statement)
        await self._connection.run_many(statement, parameters)

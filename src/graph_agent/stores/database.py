"""The interface to a SQL database. SQLite and PostgreSQL each implement it, so one module has all the statements.

Statements use `?` for parameters, and only SQL that both databases understand. JSON is kept as text.
"""

from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Connection(Protocol):
    """A connection within one transaction."""

    async def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows."""

    async def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Execute a statement and return the number of rows that it changed."""

    async def run_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Execute a statement once for each sequence of parameters."""

    async def announce(self, topics: Collection[str]) -> None:
        """Tell those who listen to these topics, in all processes, once the transaction is committed."""


Work = Callable[[Connection], Coroutine[Any, Any, T]]
"""What is done within one transaction.

It awaits nothing but the connection, so that SQLite can do all of it in its own thread, without a way back to the event
loop after each statement. It changes nothing outside of the database, so that it can be repeated after a lost
connection.
"""


class Database(Protocol):
    """A pool of connections.

    Every method raises `StoreUnavailable` if the database does not answer, also in the middle of a transaction, and
    never an exception of the driver. What `work` itself raises is raised to the caller.
    """

    @property
    def now(self) -> str:
        """SQL for the time of the database's own clock, in seconds since 1970. All processes see the same."""

    @property
    def for_update(self) -> str:
        """SQL at the end of a query that locks the rows that it finds. Empty where only one transaction writes."""

    async def open(self) -> None:
        """Connect."""

    async def read(self, work: Work[T]) -> T:
        """Do something that only reads, in one transaction."""

    async def write(self, work: Work[T]) -> T:
        """Do something in one transaction, which is committed at the end, and rolled back if `work` raises."""

    async def migrate(self, work: Work[T]) -> T:
        """The same, in a transaction that only one process at a time enters. The others wait."""

    async def aclose(self) -> None:
        """Close every connection."""

"""The interface to a SQL database. SQLite and PostgreSQL each implement it, so one module has all the statements.

Statements use `?` for parameters, and only SQL that both databases understand. JSON is kept as text.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Connection(Protocol):
    """A connection within one transaction."""

    async def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement and return its rows."""

    async def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Execute a statement and return the number of rows that it changed."""


class Database(Protocol):
    """A pool of connections.

    Every method raises `StoreUnavailable` if the database does not answer, also in the middle of a transaction, and
    never an exception of the driver.
    """

    async def open(self) -> None:
        """Connect."""

    def reading(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that only reads."""

    def writing(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that is committed at the end of the block, and rolled back if the block raises."""

    def migrating(self) -> AbstractAsyncContextManager[Connection]:
        """A transaction that only one process at a time enters. The others wait."""

    async def aclose(self) -> None:
        """Close every connection."""

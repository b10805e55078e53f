"""A SQLite file, or a database in memory: one connection that writes and a few that read, each with its own thread."""

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from graph_agent.errors import ConfigurationError, StoreUnavailable
from graph_agent.private_files import make_private
from graph_agent.stores.database import Work
from graph_agent.threads import run_in_service_thread

logger = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_SECONDS = 10.0
"""How long to wait while another process writes."""

READERS = 2
"""Connections that only read. They never wait for the one that writes."""

CACHE_KIB = 8 * 1024
"""Memory for pages of the file, for each connection."""


APPLICATION_ID = 0x67616373
"""Marks a SQLite file as a store. The bytes are "gacs" in ASCII."""


class ForeignFile(Exception):
    """The file is a database of another program."""


class ThreadConnection:
    """A `Connection` that is used in the thread of its database connection. Nothing in it ever waits for the loop."""

    __slots__ = ("_connection", "announced")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.announced: set[str] = set()

    async def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, parameters).fetchall()

    async def run(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        return self._connection.execute(statement, parameters).rowcount

    async def run_many(self, statement: str, parameters: Sequence[Sequence[Any]]) -> None:
        self._connection.executemany(statement, parameters)

    async def announce(self, topics: Collection[str]) -> None:
        self.announced.update(topics)


class SqliteThread:
    """One connection and the thread that uses it."""

    def __init__(self, path: Path | None, announce: Callable[[Collection[str]], None]) -> None:
        """`announce` is called in the thread, after a transaction that has announced something."""
        self._path = path
        self._announce = announce
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def open(self, *, writes: bool) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        await self._call(self._open, writes)

    async def do(self, begin: str, work: Work[T]) -> T:
        """Do the work in a transaction that begins with this statement."""
        return await self._call(self._transaction, begin, work)

    async def use(self, use: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function in the thread with the connection."""
        return await self._call(self._use, use)

    async def aclose(self) -> None:
        if self._thread is not None:
            thread, self._thread = self._thread, None
            # After everything that has been asked for by now.
            closing = asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown(wait=False)
            await closing

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        if self._thread is None:
            raise StoreUnavailable("the store of GRAPH_AGENT_STORE is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _open(self, writes: bool) -> None:
        # "IMMEDIATE" is for statements outside of `do`, such as those of LangGraph's saver: a transaction that reads
        # first and then writes fails at once if another process has written in between.
        connection = sqlite3.connect(
            self._path or ":memory:", timeout=BUSY_SECONDS, isolation_level="IMMEDIATE", check_same_thread=False
        )
        try:
            if self._path is not None and writes:
                _mark_as_ours(connection)
                _switch_to_wal(connection)
            # With a write-ahead log, a crash of the machine may lose the last transactions and never damages the file.
            connection.execute("PRAGMA synchronous = NORMAL")
            # Whoever deletes a conversation expects that its words are gone, also for a reader of the raw file.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _use(self, use: Callable[[sqlite3.Connection], T]) -> T:
        with _explained(self._path):
            return use(self._ready())

    def _transaction(self, begin: str, work: Work[T]) -> T:
        with _explained(self._path):
            connection = self._ready()
            connection.execute(begin)
            statements = ThreadConnection(connection)
            try:
                result = _driven(work, statements)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
        if statements.announced:
            self._announce(statements.announced)
        return result

    def _ready(self) -> sqlite3.Connection:
        assert self._connection is not None
        if self._connection.in_transaction:
            # What was begun before has failed halfway.
            self._connection.rollback()
        return self._connection


class SqliteDatabase:
    """A SQLite file that only its owner can read, or a database in memory if there is no path."""

    now = "((julianday('now') - 2440587.5) * 86400.0)"
    """See `Database.now`."""

    for_update = ""
    """See `Database.for_update`."""

    def __init__(self, path: Path | None, *, announce: Callable[[Collection[str]], None] | None = None) -> None:
        """`announce` tells this process about topics. It is called in another thread."""
        self._path = path
        self.writer = SqliteThread(path, announce or _to_nobody)
        # A database in memory belongs to its connection.
        self._readers = [] if path is None else [SqliteThread(path, _to_nobody) for _ in range(READERS)]
        self._turn = 0

    async def open(self) -> None:
        """Create the file if it is missing, and connect.

        Raises:
            ConfigurationError: the file cannot be created, or is not a store.
        """
        try:
            if self._path is not None:
                await run_in_service_thread(_create, self._path)
            await self.writer.open(writes=True)
            for reader in self._readers:
                await reader.open(writes=False)
        except BaseException as error:
            await self.aclose()
            if isinstance(error, OSError | sqlite3.Error | ForeignFile):
                raise _cannot_open(error, self._path) from error
            raise

    async def read(self, work: Work[T]) -> T:
        return await self.reader.do("BEGIN", work)

    async def write(self, work: Work[T]) -> T:
        return await self.writer.do("BEGIN IMMEDIATE", work)

    async def migrate(self, work: Work[T]) -> T:
        return await self.writer.do("BEGIN IMMEDIATE", work)

    async def version(self) -> int:
        """A number that changes when another process has written."""
        # The number of a connection does not change when the connection itself writes.
        return await self.writer.use(lambda connection: connection.execute("PRAGMA data_version").fetchone()[0])

    @property
    def reader(self) -> SqliteThread:
        """The connection whose turn it is to read."""
        if not self._readers:
            return self.writer
        self._turn = (self._turn + 1) % len(self._readers)
        return self._readers[self._turn]

    async def aclose(self) -> None:
        for one in (*self._readers, self.writer):
            with contextlib.suppress(sqlite3.Error):
                await one.aclose()


def _to_nobody(topics: Collection[str]) -> None:
    """Nobody listens."""


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Before SQLite creates it with the umask's mode.
    make_private(path)


def _mark_as_ours(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (found,) = connection.execute("PRAGMA application_id").fetchone()
    if found != APPLICATION_ID:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise ForeignFile
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("COMMIT")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # The mode is kept in the file. Changing it needs the file for itself, which the busy timeout does not wait for.
    ends = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            mode = None
        if mode == "wal" or time.monotonic() >= ends:
            return
        time.sleep(0.02)


def _driven(work: Work[T], connection: ThreadConnection) -> T:
    """Run the work to its end. It awaits only the connection, which never suspends."""
    running = work(connection)
    try:
        running.send(None)
    except StopIteration as ended:
        return ended.value  # type: ignore[no-any-return]
    running.close()
    raise RuntimeError("the work of a transaction awaited something other than its connection")


def _roll_back(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.rollback()


ELSEWHERE = "or set GRAPH_AGENT_STORE to another place"

ADVICE = {
    sqlite3.SQLITE_FULL: f"the disk of the store is full: free space on it, {ELSEWHERE}",
    sqlite3.SQLITE_READONLY: "the store cannot be written: make the file of GRAPH_AGENT_STORE and its folder writable "
    f"for the user of the service, {ELSEWHERE}",
    sqlite3.SQLITE_BUSY: "another process has been writing to the store for too long: send the request again",
    sqlite3.SQLITE_LOCKED: "another process has been writing to the store for too long: send the request again",
    sqlite3.SQLITE_CORRUPT: "the store is damaged: restore the file of GRAPH_AGENT_STORE from a backup, or delete it",
    sqlite3.SQLITE_NOTADB: f"the file of GRAPH_AGENT_STORE is not a SQLite database: delete it, {ELSEWHERE}",
    sqlite3.SQLITE_CANTOPEN: "the store cannot be opened: make the file of GRAPH_AGENT_STORE and its folder writable "
    f"for the user of the service, {ELSEWHERE}",
    sqlite3.SQLITE_IOERR: f"the disk of the store does not work: check it, {ELSEWHERE}",
}
"""SQLite's primary error codes, and what to do. Clients read these texts, so they name no path."""


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        advice = ADVICE.get(_code(error), "the store does not work: the log of the service says why")
        # The message of the error is left out, because it may quote a value.
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        logger.error("the store %s failed with %s: %s", path or "in memory", name, advice)
        raise StoreUnavailable(advice) from error


def _cannot_open(error: OSError | sqlite3.Error | ForeignFile, path: Path | None) -> Exception:
    if isinstance(error, sqlite3.Error):
        advice = ADVICE.get(_code(error), "SQLite cannot open the store")
        if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreUnavailable(advice)
    elif isinstance(error, ForeignFile):
        advice = "the file of GRAPH_AGENT_STORE is a database of another program: set GRAPH_AGENT_STORE to another file"
    else:
        advice = ADVICE[sqlite3.SQLITE_CANTOPEN]
    return ConfigurationError(f"{advice} (it is {path})", param="GRAPH_AGENT_STORE")

"""Every kind of store, for tests that all of them must pass."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest
from tests.stores.postgres_server import PostgresServer, postgres_server
from tests.stores.turns import Clock

from graph_agent.stores.postgres_sign_in import UrlSignIn
from graph_agent.stores.postgres_store import PostgresStore
from graph_agent.stores.sql_memories import MemoryOptions
from graph_agent.stores.sqlite_store import MemoryStore, SqliteStore
from graph_agent.stores.store import Store

StoreOf = Callable[[], Store]
"""Makes a store that is not open yet. Stores of one function share their data, as those of several processes do."""

MemoryStoreOf = Callable[[MemoryOptions], Awaitable[Store]]
"""Opens a store that keeps memories in this way. All of one function share their data."""

LASTING = ("sqlite", "postgres")
"""The kinds of stores that outlive a process. Each has a fixture with its name and `_store_of`."""


_schemas = count()


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the tests of this process that do not stop it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sqlite_store_of(tmp_path: Path, clock: Clock) -> StoreOf:
    return lambda: SqliteStore(tmp_path / "store" / "conversations.sqlite", clock=clock)


@pytest.fixture
def postgres_store_of(running_postgres: PostgresServer, clock: Clock) -> StoreOf:
    schema = f"store_{next(_schemas)}"
    return lambda: PostgresStore(lambda: UrlSignIn(running_postgres.url, {}), schema=schema, clock=clock)


@pytest.fixture(params=LASTING)
def store_of(request: pytest.FixtureRequest) -> StoreOf:
    """Every kind of store that outlives a process."""
    made: StoreOf = request.getfixturevalue(f"{request.param}_store_of")
    return made


@pytest.fixture(params=("memory", *LASTING))
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Store]:
    """An open store of every kind."""
    made: Store
    if request.param == "memory":
        made = MemoryStore(clock=clock)
    else:
        made = request.getfixturevalue(f"{request.param}_store_of")()
    async with AsyncExitStack() as closing:
        await made.open()
        closing.push_async_callback(made.aclose)
        yield made


@pytest.fixture(params=LASTING)
async def memory_store_of(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[MemoryStoreOf]:
    """Every kind of store that outlives a process, with options for its memories."""
    schema = f"store_{next(_schemas)}"

    def made(options: MemoryOptions) -> Store:
        if request.param == "sqlite":
            return SqliteStore(tmp_path / "conversations.sqlite", memories=options, clock=clock)
        url = request.getfixturevalue("running_postgres").url
        return PostgresStore(lambda: UrlSignIn(url, {}), schema=schema, memories=options, clock=clock)

    async with AsyncExitStack() as closing:

        async def opened(options: MemoryOptions) -> Store:
            store = made(options)
            await store.open()
            closing.push_async_callback(store.aclose)
            return store

        yield opened

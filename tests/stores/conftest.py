"""Fixtures of the tests of stores."""

from collections.abc import Iterator

import pytest
from tests.stores.postgres_server import PostgresServer, postgres_server


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the tests of this process that do not stop it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"

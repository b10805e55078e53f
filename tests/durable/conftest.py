"""The stores that outlive a process, as processes and tests reach them."""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from tests.stores.postgres_server import PostgresServer, postgres_server


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that the tests of a file may stop."""
    with postgres_server() as server:
        yield server


class Tables:
    """The tables of a store, read from outside."""

    environ: dict[str, str]
    """What a process needs to use the store."""

    def rows(self, statement: str, *parameters: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def execute(self, statement: str) -> None:
        """Change something from outside."""
        raise NotImplementedError

    def committed(self, response: str) -> int:
        """How many super-steps of a response's thread are committed. A node that has ended counts as one."""
        [(thread,)] = self.rows(
            "SELECT thread FROM conversations JOIN responses ON responses.conversation = conversations.id "
            "WHERE responses.id = ?",
            response,
        )
        saved = self.rows(
            "SELECT checkpoint_id, metadata FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' "
            "ORDER BY checkpoint_id DESC LIMIT 1",
            thread,
        )
        if not saved:
            return 0
        [(head, metadata)] = saved
        step = metadata if isinstance(metadata, dict) else json.loads(metadata)
        written = self.rows(
            f"SELECT DISTINCT task_id FROM {self.writes} WHERE thread_id = ? AND checkpoint_id = ? "
            "AND substr(channel, 1, 2) <> '__'",
            thread,
            head,
        )
        return max(step["step"], 0) + len(written)

    writes: str
    """The table in which LangGraph keeps what nodes have written since the last checkpoint."""


@dataclass
class SqliteTables(Tables):
    file: Path

    writes = "writes"

    def __post_init__(self) -> None:
        self.environ = {"GRAPH_AGENT_STORE": f"sqlite:{self.file}"}

    def rows(self, statement: str, *parameters: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as connection:
            return connection.execute(statement, parameters).fetchall()

    def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            connection.execute(statement)
            connection.commit()


@dataclass
class PostgresTables(Tables):
    server: PostgresServer
    schema: str

    writes = "checkpoint_writes"

    def __post_init__(self) -> None:
        self.environ = {"GRAPH_AGENT_STORE": self.server.url, "GRAPH_AGENT_STORE_SCHEMA": self.schema}

    def rows(self, statement: str, *parameters: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(SQL("SET search_path TO {}").format(Identifier(self.schema)))
            return connection.execute(statement.replace("?", "%s").encode(), parameters or None).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(SQL("SET search_path TO {}").format(Identifier(self.schema)))
            connection.execute(statement.encode())


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteTables:
    return SqliteTables(tmp_path / "store.sqlite")


@pytest.fixture
def postgres(own_postgres: PostgresServer) -> PostgresTables:
    return PostgresTables(own_postgres, f"durable_{secrets.token_hex(4)}")

"""A PostgreSQL database as a store uses it: transactions, failures, and recovery without a restart."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from tests.stores.postgres_server import PASSWORD, PostgresServer, postgres_server

from graph_agent.errors import BadSetting, StoreUnavailable
from graph_agent.stores.database import Connection
from graph_agent.stores.postgres_database import PostgresDatabase
from graph_agent.stores.postgres_saver import set_up_savers
from graph_agent.stores.postgres_sign_in import UrlSignIn

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A server that the tests of this file may stop."""
    with postgres_server() as server:
        yield server


@asynccontextmanager
async def opened(server: PostgresServer, schema: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(UrlSignIn(server.url, {}), schema=schema)
    try:
        await database.open()
        await database.migrate(make_table)
        yield database
    finally:
        await database.aclose()


async def make_table(connection: Connection) -> None:
    await connection.run("CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY)")


async def words(connection: Connection) -> list[str]:
    return [word for (word,) in await connection.rows("SELECT word FROM words ORDER BY word")]


async def add_a(connection: Connection) -> None:
    await connection.run("INSERT INTO words (word) VALUES (?)", ("a",))


async def wait_in_database(connection: Connection) -> None:
    await connection.rows("SELECT pg_sleep(0.2)")


async def test_statements_have_question_marks_and_keep_percent_signs(running_postgres: PostgresServer) -> None:
    async def work(connection: Connection) -> list[str]:
        await connection.run_many("INSERT INTO words (word) VALUES (?)", [("50%",), ("5",)])
        assert await connection.run("DELETE FROM words WHERE word LIKE '5%' AND word <> ?", ("50%",)) == 1
        return await words(connection)

    async with opened(running_postgres, "marks") as database:
        assert await database.write(work) == ["50%"]


async def test_a_transaction_that_raises_leaves_nothing_behind(running_postgres: PostgresServer) -> None:
    async def work(connection: Connection) -> None:
        await add_a(connection)
        raise LookupError

    async with opened(running_postgres, "rolled_back") as database:
        with pytest.raises(LookupError):
            await database.write(work)
        assert await database.read(words) == []


async def test_tables_are_in_the_schema_and_nowhere_else(running_postgres: PostgresServer) -> None:
    async with opened(running_postgres, "own_schema") as database:
        await set_up_savers(database)

    found = running_postgres.execute("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'checkpoints'")
    assert ("own_schema",) in found
    assert ("public",) not in found


async def test_a_transaction_is_repeated_when_another_was_in_the_way(running_postgres: PostgresServer) -> None:
    gate = asyncio.Barrier(2)
    tries: list[str] = []

    def locks(first: str, second: str) -> Any:
        async def work(connection: Connection) -> None:
            tries.append(first)
            await connection.run("UPDATE words SET word = word WHERE word = ?", (first,))
            if len(tries) <= 2:
                # Each has its first row now, and wants the other's.
                await gate.wait()
            await connection.run("UPDATE words SET word = word WHERE word = ?", (second,))

        return work

    async def both(connection: Connection) -> None:
        await connection.run_many("INSERT INTO words (word) VALUES (?)", [("a",), ("b",)])

    async with opened(running_postgres, "deadlock") as database:
        await database.write(both)
        await asyncio.gather(database.write(locks("a", "b")), database.write(locks("b", "a")))

    assert len(tries) > 2


async def test_an_error_of_a_statement_is_typed_and_says_nothing_of_the_driver(
    running_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def twice(connection: Connection) -> None:
        await connection.run_many("INSERT INTO words (word) VALUES (?)", [("secret-word",), ("secret-word",)])

    async with opened(running_postgres, "typed") as database:
        with pytest.raises(StoreUnavailable) as caught:
            await database.write(twice)

    assert "UniqueViolation 23505" in caught.value.message
    assert "secret-word" not in caught.value.message + caplog.text
    assert caught.value.__cause__ is None


async def test_dropped_connections_are_never_handed_out(running_postgres: PostgresServer) -> None:
    async with opened(running_postgres, "dropped") as database:
        # Ten at once, so that the pool holds several connections.
        await asyncio.gather(*(database.read(wait_in_database) for _ in range(10)))
        assert running_postgres.drop_connections() > 1

        await asyncio.gather(*(database.read(wait_in_database) for _ in range(10)))


async def test_a_transaction_whose_connection_is_lost_is_repeated_and_committed_once(
    running_postgres: PostgresServer,
) -> None:
    tries = count(1)

    async def work(connection: Connection) -> list[str]:
        number = next(tries)
        await connection.run("INSERT INTO words (word) VALUES (?)", (f"try {number}",))
        if number == 1:
            await asyncio.to_thread(running_postgres.drop_connections)
        return await words(connection)

    async with opened(running_postgres, "lost") as database:
        assert await database.write(work) == ["try 2"]
        assert await database.read(words) == ["try 2"]


async def test_a_connection_that_is_lost_again_and_again_is_a_typed_error(running_postgres: PostgresServer) -> None:
    async def work(connection: Connection) -> None:
        await add_a(connection)
        await asyncio.to_thread(running_postgres.drop_connections)
        await words(connection)

    async with opened(running_postgres, "lost_again") as database:
        with pytest.raises(StoreUnavailable, match="it is stopping"):
            await database.write(work)
        assert await database.read(words) == []


async def test_a_stopped_database_is_a_typed_error_and_recovers_by_itself(
    own_postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graph_agent")
    errors: list[StoreUnavailable] = []
    written: list[int] = []
    stopped, answered = asyncio.Event(), asyncio.Event()

    async def client(number: int) -> None:
        """Write one word after the other until ten were written after the restart."""
        left, count = 10, 0
        while left:
            word = f"{number}-{count}"

            async def work(connection: Connection, word: str = word) -> None:
                await connection.run("INSERT INTO words (word) VALUES (?)", (f"{word}-first",))
                await connection.run("INSERT INTO words (word) VALUES (?)", (f"{word}-second",))

            try:
                await database.write(work)
            except StoreUnavailable as error:
                errors.append(error)
                stopped.set()
            else:
                written.append(number)
                answered.set()
                left -= stopped.is_set()
            count += 1

    async with opened(own_postgres, "under_load") as database:
        clients = [asyncio.create_task(client(number)) for number in range(12)]
        await answered.wait()
        await asyncio.to_thread(own_postgres.stop)
        await stopped.wait()
        await asyncio.to_thread(own_postgres.start)
        await asyncio.gather(*clients)
        found = await database.read(words)

    assert {error.status for error in errors} == {503}
    # Both words of a transaction or none.
    assert len(found) == 2 * len({word.rsplit("-", 1)[0] for word in found})
    # A commit whose answer was lost may have been made.
    assert len(found) // 2 >= len(written)
    assert "the database of GRAPH_AGENT_STORE answers again" in caplog.text
    assert "127.0.0.1" not in caplog.text


async def test_a_database_that_hangs_is_a_typed_error_and_the_loop_goes_on(own_postgres: PostgresServer) -> None:
    async with opened(own_postgres, "frozen") as database:
        with own_postgres.frozen():
            asked = asyncio.create_task(database.read(words))
            turns = 0
            while not asked.done():
                await asyncio.sleep(0.05)
                turns += 1
            with pytest.raises(StoreUnavailable):
                await asked
        assert turns > 10
        assert await database.read(words) == []


async def test_a_database_that_is_down_when_the_store_opens_can_be_opened_later(own_postgres: PostgresServer) -> None:
    own_postgres.stop()
    database = PostgresDatabase(UrlSignIn(own_postgres.url, {}), schema="later")
    try:
        with pytest.raises(StoreUnavailable, match="nothing listens there"):
            await database.open()
        own_postgres.start()
        await database.open()
    finally:
        await database.aclose()


async def test_several_processes_migrate_one_after_the_other(running_postgres: PostgresServer) -> None:
    inside, most = 0, 0

    async def work(connection: Connection) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await make_table(connection)
        inside -= 1

    # Each has a pool of its own, as each process has.
    databases = [PostgresDatabase(UrlSignIn(running_postgres.url, {}), schema="migrated") for _ in range(4)]

    async def start(database: PostgresDatabase) -> None:
        await database.open()
        await database.migrate(work)
        # It builds indexes concurrently.
        await set_up_savers(database)

    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*map(start, databases))
    finally:
        for database in databases:
            await database.aclose()

    assert most == 1
    invalid = running_postgres.execute("SELECT 1 FROM pg_index WHERE NOT indisvalid")
    assert invalid == []


@dataclass
class ChangingPassword:
    """A sign-in whose first password is wrong."""

    server: PostgresServer
    password: str = "wrong"

    async def parameters(self) -> Mapping[str, Any]:
        return {**await UrlSignIn(self.server.url, {}).parameters(), "password": self.password}

    def refused(self) -> None:
        self.password = PASSWORD


async def test_a_refused_password_is_reported_so_that_another_is_taken(running_postgres: PostgresServer) -> None:
    database = PostgresDatabase(ChangingPassword(running_postgres), schema="refused")
    try:
        await database.open()
    finally:
        await database.aclose()


async def test_a_wrong_password_is_named_without_its_text(running_postgres: PostgresServer) -> None:
    wrong = running_postgres.url.replace(PASSWORD, "not-the-password")
    database = PostgresDatabase(UrlSignIn(wrong, {}), schema="wrong")
    try:
        with pytest.raises(StoreUnavailable) as caught:
            await database.open()
    finally:
        await database.aclose()

    assert caught.value.message == (
        "the database of GRAPH_AGENT_STORE does not answer: it refuses the user or the password"
    )


async def test_the_environment_of_the_app_fills_in_what_the_url_leaves_out() -> None:
    sign_in = UrlSignIn("postgresql://me@/things", {"PGHOST": "db.example.com", "PGUSER": "somebody", "PGPORT": ""})

    assert await sign_in.parameters() == {"host": "db.example.com", "user": "me", "dbname": "things"}


def test_a_url_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(BadSetting) as caught:
        UrlSignIn("postgresql://me:pass%word@host/db", {})

    assert "pass%word" not in caught.value.message

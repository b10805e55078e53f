"""Stores that an older version of graph-agent wrote."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stores.accepted import Accepted, batch
from tests.stores.conftest import LASTING
from tests.stores.postgres_server import PostgresServer
from tests.stores.turns import ANN, Clock, Turns, ids

from graph_agent.stores import schema
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.postgres_database import PostgresDatabase
from graph_agent.stores.postgres_sign_in import UrlSignIn
from graph_agent.stores.postgres_store import PostgresStore
from graph_agent.stores.records import Page
from graph_agent.stores.sqlite_database import SqliteDatabase
from graph_agent.stores.sqlite_store import SqliteStore
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio

Made = tuple[Callable[[], Database], Callable[[], Store]]

OLD = range(1, len(schema.MIGRATIONS))


@pytest.fixture(params=LASTING)
def made(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Made:
    """Makes a database and the store in it."""
    if request.param == "sqlite":
        path = tmp_path / "conversations.sqlite"
        return (lambda: SqliteDatabase(path)), (lambda: SqliteStore(path, clock=clock))
    server: PostgresServer = request.getfixturevalue("running_postgres")
    name = f"{request.function.__name__[:20]}_{request.node.callspec.params['version']}"

    def sign_in() -> UrlSignIn:
        return UrlSignIn(server.url, {})

    return (lambda: PostgresDatabase(sign_in(), schema=name)), (
        lambda: PostgresStore(sign_in, schema=name, clock=clock)
    )


async def fill(connection: Connection) -> None:
    """What every version has stored: a conversation with one response."""
    await connection.run(
        "INSERT INTO conversations (owner, id, thread, title, metadata, created_at, updated_at, head, lasting) "
        "VALUES ('ann', 'conv_1', 'thread_ann_conv_1', 'Hello', '{\"pinned\":\"true\"}', 1, 1, 'resp_1', 0)"
    )
    await connection.run(
        "INSERT INTO responses (owner, id, conversation, kind, graph, family, status, created_at, response) VALUES "
        "('ann', 'resp_1', 'conv_1', 'response', 'assistant', 'openai', 'completed', 1, '{\"id\":\"resp_1\"}')"
    )


FINDS = 6
"""The version from which on a conversation is written with what it is found by."""


async def fill_found(connection: Connection) -> None:
    await connection.run("UPDATE conversations SET sought = 'hello', pinned = 1")


@pytest.mark.parametrize("version", OLD)
async def test_a_store_of_an_older_version_goes_on_as_it_was(
    version: int, made: Made, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database, make_store = made
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        database = make_database()
        await database.open()
        await schema.bring_up_to_date(database)
        await database.write(fill)
        if version >= FINDS:
            await database.write(fill_found)
        await database.aclose()

    store = make_store()
    await store.open()
    assert (await store.responses.get(ANN, "resp_1")).status == "completed"
    assert await store.runs.get(ANN, "resp_1") is None
    found, _ = await store.responses.conversations(ANN, Page(), words=["HELLO"], pinned=True)
    assert ids(found) == ["conv_1"]
    turns = Turns(store, clock)
    turns.known = True
    await turns.turn("resp_2", after="resp_1")
    runs = Accepted(store, clock)
    right = await runs.run("resp_3", key="k", digest="d")
    await runs.finish(right, last=batch(right, 0, 1))
    await store.aclose()

    again = make_store()
    await again.open()
    assert (await again.responses.get(ANN, "resp_3")).status == "completed"
    assert [one.id for one in await again.responses.lineage(ANN, "resp_2")] == ["resp_1", "resp_2"]
    await again.aclose()


@pytest.mark.parametrize("version", [4])
async def test_the_events_that_an_older_version_has_written_are_read_together_with_later_ones(
    version: int, made: Made, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database, make_store = made
    with monkeypatch.context() as older:
        older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        database = make_database()
        await database.open()
        await schema.bring_up_to_date(database)
        await database.aclose()
    store = make_store()
    await store.open()
    runs = Accepted(store, clock)
    right = await runs.run("resp_1", key="k", digest="d")
    database = make_database()
    await database.open()

    async def write(connection: Connection) -> None:
        await connection.run("UPDATE runs SET events = 2 WHERE response = 'resp_1'")
        await connection.run("DELETE FROM events")
        await connection.run(
            "INSERT INTO events (owner, response, first, body) VALUES (?, 'resp_1', 0, ?)",
            (right.owner.key, '{"n":0}\n{"n":1,"said":"\u00fc"}'),
        )

    await database.write(write)
    await database.aclose()
    assert not await store.runs.append([batch(right, 2, 3)])
    later = batch(right, 2, 3).events
    assert list(await store.runs.events(ANN, "resp_1", after=-1, most=9)) == [
        b'{"n":0}',
        '{"n":1,"said":"\u00fc"}'.encode(),
        *later,
    ]
    assert list(await store.runs.events(ANN, "resp_1", after=1, most=9)) == list(later)
    await store.aclose()

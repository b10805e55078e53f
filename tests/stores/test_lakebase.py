"""The store in Lakebase: a recording workspace that gives passwords, and a real PostgreSQL server over TLS."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.standin.lakebase import DATABASE, ENDPOINT, LakebaseApi
from tests.standin.server import StandIn, stand_in
from tests.stores.accepted import Accepted, wakes
from tests.stores.postgres_server import PostgresServer
from tests.stores.turns import Clock, Turns

from graph_agent.app_context import AppContext
from graph_agent.errors import StoreUnavailable
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.settings import Settings
from graph_agent.stores.opening import open_store
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio

CREDENTIALS = "^/api/2.0/postgres/credentials$"
LOOKUP = f"^/api/2.0/postgres/{ENDPOINT}$"


@dataclass
class Lakehouse:
    """A workspace with a Lakebase endpoint, and the environment of an app in it."""

    workspace: StandIn
    api: LakebaseApi
    environ: dict[str, str]

    @property
    def server(self) -> PostgresServer:
        return self.api.server

    @asynccontextmanager
    async def store(self, endpoint: str = ENDPOINT) -> AsyncIterator[Store]:
        """A store of the app that is not open yet."""
        settings = Settings(store=endpoint)
        app = AppContext(settings, self.environ)
        store = open_store(settings, app)
        try:
            yield store
        finally:
            await store.aclose()
            await app.aclose()


@pytest.fixture
def lakehouse(tmp_path: Path, running_postgres: PostgresServer) -> Iterator[Lakehouse]:
    api = LakebaseApi(running_postgres)
    with stand_in(tmp_path, users=["ann"], more=api.routes()) as workspace:
        api.create_role(workspace.credentials.client_id)
        # Only the port cannot be looked up: Lakebase's is always 5432.
        environ = {**workspace.environment(), "PGPORT": str(running_postgres.port)}
        if not running_postgres.tls:
            environ["PGSSLMODE"] = "disable"
        yield Lakehouse(workspace, api, environ)
        running_postgres.execute("DROP SCHEMA IF EXISTS graph_agent CASCADE", database=DATABASE)


def sessions_of(lakehouse: Lakehouse) -> list[tuple[str, str, bool]]:
    """The database, the role and the encryption of the app's connections."""
    return lakehouse.server.execute(  # type: ignore[return-value]
        "SELECT datname, usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
        " WHERE application_name = 'graph-agent' AND datname = %s",
        DATABASE,
    )


async def test_the_app_signs_in_as_itself_with_a_password_of_the_workspace(lakehouse: Lakehouse, clock: Clock) -> None:
    async with lakehouse.store() as store:
        await store.open()
        await Turns(store, clock).turn("resp_1")
        sessions = sessions_of(lakehouse)

    assert set(sessions) == {(DATABASE, lakehouse.api.role, lakehouse.server.tls)}
    assert [call.line for call in lakehouse.workspace.calls("postgres")] == [
        f"GET /api/2.0/postgres/{ENDPOINT}",
        "POST /api/2.0/postgres/credentials",
    ]
    assert lakehouse.workspace.calls(CREDENTIALS)[0].json == {"endpoint": ENDPOINT}


async def test_the_variables_of_the_platform_win_over_what_is_looked_up(lakehouse: Lakehouse) -> None:
    lakehouse.server.execute("DROP DATABASE IF EXISTS platform_db")
    lakehouse.server.execute("CREATE DATABASE platform_db")
    lakehouse.server.execute(f'GRANT CREATE ON DATABASE platform_db TO "{lakehouse.api.role}"')
    lakehouse.environ |= {
        "PGHOST": "127.0.0.1",
        "PGDATABASE": "platform_db",
        "PGUSER": lakehouse.api.role,
        "PGSSLMODE": "prefer",
    }

    async with lakehouse.store() as store:
        await store.open()

    tables = lakehouse.server.execute("SELECT count(*) FROM graph_agent.responses", database="platform_db")
    assert tables == [(0,)]
    assert not lakehouse.workspace.calls(LOOKUP)


async def test_connections_share_a_password_during_its_life(lakehouse: Lakehouse, clock: Clock) -> None:
    async with lakehouse.store() as store:
        await store.open()
        await asyncio.gather(*(Turns(store, clock, f"conv_{n}").turn(f"resp_{n}") for n in range(20)))
        assert len(sessions_of(lakehouse)) > 1

    assert len(lakehouse.workspace.calls(CREDENTIALS)) == 1


async def test_a_new_connection_gets_a_new_password_when_the_old_one_has_expired(
    lakehouse: Lakehouse, clock: Clock
) -> None:
    # Shorter than the margin: each password is good for one connection.
    lakehouse.api.life_seconds = 60
    async with lakehouse.store() as store:
        await store.open()
        lakehouse.workspace.forget()
        turns = Turns(store, clock)
        # An open connection needs no password.
        await turns.turn("resp_1")
        before = len(lakehouse.workspace.calls(CREDENTIALS))
        for turn in range(1, 20):
            lakehouse.server.drop_connections()
            await turns.turn(f"resp_{turn + 1}", after=f"resp_{turn}")
            if len(lakehouse.workspace.calls(CREDENTIALS)) > before:
                break
            # A busy pool was just opening a further connection, with the password before. It was not dropped.

    assert len(lakehouse.workspace.calls(CREDENTIALS)) > before


async def test_a_password_that_the_database_refuses_is_replaced(lakehouse: Lakehouse, clock: Clock) -> None:
    async with lakehouse.store() as store:
        await store.open()
        turns = Turns(store, clock)
        await turns.turn("resp_1")
        lakehouse.api.change_password()
        lakehouse.server.drop_connections()
        await turns.turn("resp_2", after="resp_1")

    assert len(lakehouse.workspace.calls(CREDENTIALS)) > 1


async def test_the_connection_for_news_signs_in_as_the_app_too_and_again_when_it_is_lost(
    lakehouse: Lakehouse, clock: Clock
) -> None:
    lakehouse.api.life_seconds = 60
    async with lakehouse.store() as store:
        await store.open()
        async with store.signals.listening("queue") as queue:
            # Whoever begins to listen is woken once, and again after each new connection.
            assert await wakes(queue)
            before = len(lakehouse.workspace.calls(CREDENTIALS))
            lakehouse.server.drop_connections()
            assert await wakes(queue)
            await Accepted(store, clock).queue("resp_1")
            assert await wakes(queue)
        assert {(database, role) for database, role, _ in sessions_of(lakehouse)} == {(DATABASE, lakehouse.api.role)}

    assert len(lakehouse.workspace.calls(CREDENTIALS)) > before


async def test_a_workspace_that_refuses_is_a_typed_error_until_it_agrees(lakehouse: Lakehouse) -> None:
    lakehouse.workspace.fail(CREDENTIALS, 403)
    async with lakehouse.store() as store:
        with pytest.raises(StoreUnavailable) as refused:
            await store.open()
        await store.open()

    assert "the app may not use this endpoint" in refused.value.message
    assert "a test asked for this error" not in refused.value.message


async def test_an_endpoint_that_does_not_exist_is_named_as_the_reason(lakehouse: Lakehouse) -> None:
    async with lakehouse.store(ENDPOINT.replace("primary", "other")) as store:
        with pytest.raises(StoreUnavailable, match="it has no such endpoint"):
            await store.open()


async def test_a_password_is_asked_for_as_the_app_whoever_calls(lakehouse: Lakehouse, clock: Clock) -> None:
    with with_user_token(UserToken(lakehouse.workspace.user("ann"))):
        async with lakehouse.store() as store:
            await store.open()
            await Turns(store, clock).turn("resp_1")

    assert {call.token for call in lakehouse.workspace.calls("postgres")}.isdisjoint({"", "user-ann"})


async def test_an_app_without_the_right_to_create_a_schema_is_told_so(lakehouse: Lakehouse) -> None:
    lakehouse.server.execute(f'REVOKE CREATE ON DATABASE {DATABASE} FROM "{lakehouse.api.role}"')
    async with lakehouse.store() as store:
        with pytest.raises(StoreUnavailable, match="the user may not do this"):
            await store.open()

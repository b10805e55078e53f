"""`graph-agent grant-store`: what another role needs in the store's database."""

from collections.abc import Iterator

import pytest
from tests.documentation.examples import echo, graph_of
from tests.stores.postgres_server import PASSWORD, PostgresServer, postgres_server

from graph_agent import Settings, create_app
from graph_agent.commands.cli import main
from graph_agent.testing import SyncAgentClient

ROLE = "0a1b2c3d-0000-4000-8000-00000000abcd"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        running.execute(f'CREATE ROLE "{ROLE}" LOGIN')
        yield running


@pytest.fixture
def store(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    monkeypatch.setenv("GRAPH_AGENT_STORE", server.url)
    return server


def test_without_apply_the_statements_are_printed_and_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_STORE", "projects/shop/branches/main/endpoints/primary")
    assert main(["grant-store", ROLE]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f'GRANT CONNECT, CREATE ON DATABASE "databricks_postgres" TO "{ROLE}";',
        "-- Only if the schema graph_agent exists already, and the role does not own it:",
        f'GRANT USAGE, CREATE ON SCHEMA "graph_agent" TO "{ROLE}";',
        f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "graph_agent" TO "{ROLE}";',
    ]


def test_with_apply_the_role_may_create_the_schema_or_use_it_if_it_is_there(
    store: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grant-store", ROLE, "--apply"]) == 0
    assert capsys.readouterr().out == f'done: GRANT CONNECT, CREATE ON DATABASE "postgres" TO "{ROLE}"\n'
    assert store.execute("SELECT has_database_privilege(%s, 'postgres', 'CREATE')", ROLE) == [(True,)]
    store.execute("CREATE SCHEMA graph_agent CREATE TABLE graph_agent.one (id int)")
    assert main(["grant-store", ROLE, "--apply"]) == 0
    assert store.execute("SELECT has_table_privilege(%s, 'graph_agent.one', 'DELETE')", ROLE) == [(True,)]
    store.execute("DROP SCHEMA graph_agent CASCADE")


def test_with_apply_a_service_of_the_role_uses_the_tables_of_another(store: PostgresServer) -> None:
    store.execute(f"CREATE ROLE deployed LOGIN PASSWORD '{PASSWORD}'")
    theirs = store.url.replace("//postgres:", "//deployed:", 1)
    assert answered(store.url) == 200
    assert answered(theirs) == 503
    assert main(["grant-store", "deployed", "--apply"]) == 0
    assert answered(theirs) == 200
    store.execute("DROP SCHEMA graph_agent CASCADE")


def answered(url: str) -> int:
    """The status of a request that is stored there."""
    app = create_app(Settings(store=url, tracing="off"), {"echo": graph_of(echo)}, environ={})
    with SyncAgentClient(app) as client:
        return client.post("/responses", json={"input": "Hello"}).status_code


def test_a_role_that_does_not_exist_is_named(store: PostgresServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grant-store", "nobody-here", "--apply"]) == 2
    assert "the database postgres has no role nobody-here" in capsys.readouterr().err


@pytest.mark.parametrize("role", ['x"; DROP TABLE a; --', "", "a b", "-x" * 2])
def test_what_is_no_role_is_refused(
    role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_STORE", "projects/shop/branches/main/endpoints/primary")
    assert main(["grant-store", "--", role]) == 2
    assert "the role must be the client id of a service principal" in capsys.readouterr().err


def test_a_store_that_is_a_file_has_no_roles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grant-store", ROLE]) == 2
    assert "the store is no database; set GRAPH_AGENT_STORE" in capsys.readouterr().err

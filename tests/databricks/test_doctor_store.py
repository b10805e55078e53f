"""`graph-agent doctor` and the store: what cannot be used is named, and nothing is created."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.databricks.service import GRAPHS
from tests.standin.lakebase import DATABASE, ENDPOINT, LakebaseApi
from tests.standin.server import stand_in
from tests.stores.postgres_server import PASSWORD, PostgresServer, postgres_server

from graph_agent.commands.cli import main
from graph_agent.settings import project_digest


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The cache folder of an app."""
    monkeypatch.setenv("GRAPH_AGENT_CACHE_DIR", str(tmp_path / "cache"))
    # As on Apps: nothing of the laptop's is looked at.
    monkeypatch.setenv("DATABRICKS_APP_NAME", "agent")
    return tmp_path / "cache"


@pytest.fixture
def lakebase(server: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LakebaseApi]:
    """A workspace with a Lakebase endpoint, which is the store of the environment."""
    api = LakebaseApi(server)
    with stand_in(tmp_path / "workspace", more=api.routes()) as workspace:
        api.create_role(workspace.credentials.client_id)
        for name, value in workspace.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PGPORT", str(server.port))
        monkeypatch.setenv("PGSSLMODE", "prefer")
        monkeypatch.setenv("GRAPH_AGENT_STORE", ENDPOINT)
        yield api


def about_the_store(capsys: pytest.CaptureFixture[str]) -> str:
    main(["doctor", "--config", str(GRAPHS)])
    said = capsys.readouterr().out
    return said[said.index("store") - 5 :]


def test_a_file_is_named_and_that_it_is_lost_with_the_instance(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = about_the_store(capsys)

    path = here / "projects" / project_digest(GRAPHS.parent) / "conversations.sqlite"
    assert said == f"ok   store: the file {path}, which is lost with this instance of the app\n"
    assert not here.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_cannot_be_written_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_STORE", "sqlite:/proc/agent.sqlite")

    assert "-> make /proc writable for the user of the service" in about_the_store(capsys)


def test_memory_is_said_to_be_lost(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_STORE", "memory")

    assert about_the_store(capsys) == "ok   store: memory, which is lost when the service stops\n"


def test_a_store_of_no_kind_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_STORE", "mysql://me@host/db")

    assert "FIX  store of GRAPH_AGENT_STORE\n     -> GRAPH_AGENT_STORE must be memory" in about_the_store(capsys)


def test_a_database_that_does_not_answer_is_named_without_its_url(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_STORE", "postgresql://me:a-secret@127.0.0.1:9/db")
    said = about_the_store(capsys)

    assert "-> the database of GRAPH_AGENT_STORE does not answer: nothing listens there" in said
    assert "a-secret" not in said


def test_a_lakebase_that_is_in_order_is_well_and_stays_empty(
    lakebase: LakebaseApi, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = about_the_store(capsys)

    assert said == f"ok   store: the database {DATABASE} answers; the schema graph_agent will be created\n"
    created = lakebase.server.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'graph_agent'", database=DATABASE)
    assert created == []


def test_an_app_that_may_not_create_the_schema_is_told_the_grant(
    lakebase: LakebaseApi, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lakebase.server.execute(f'REVOKE CREATE ON DATABASE {DATABASE} FROM "{lakebase.role}"')

    assert f'GRANT CREATE ON DATABASE "{DATABASE}" TO "{lakebase.role}"' in about_the_store(capsys)


@pytest.mark.parametrize("shared", [False, True])
def test_a_schema_of_somebody_else_is_named_with_its_owner(
    lakebase: LakebaseApi, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    # As after a start on the laptop of the deployer.
    schema = f"somebodys_{shared}".lower()
    monkeypatch.setenv("GRAPH_AGENT_STORE_SCHEMA", schema)
    lakebase.server.execute(f"CREATE SCHEMA {schema} CREATE TABLE responses (id TEXT)", database=DATABASE)
    if shared:
        lakebase.server.execute(f'GRANT USAGE, CREATE ON SCHEMA {schema} TO "{lakebase.role}"', database=DATABASE)
    said = about_the_store(capsys)

    what = f"tables of the schema {schema} belong to postgres" if shared else f"the schema {schema} belongs to postgres"
    assert what in said
    assert PASSWORD not in said

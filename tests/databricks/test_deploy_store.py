"""Where a deployed app keeps conversations: its `postgres` resource, and what is told when they would be lost."""

import os
import sys
from pathlib import Path

import pytest
from tests.databricks.shop import APP, BUNDLE, Shop, refused
from tests.standin.apps import DATABASE

from graph_agent.deploying.app_file import AppFile
from graph_agent.deploying.rehearsal import rehearse
from graph_agent.deploying.sources import Source

BRANCH = DATABASE.partition("/databases/")[0]
ENDPOINT = f"{BRANCH}/endpoints/primary"
TAKEN = "  - {name: GRAPH_AGENT_STORE, valueFrom: memory}\n"


def with_database(name: str = DATABASE) -> str:
    fields = f"{{branch: {BRANCH}, database: {name}, permission: CAN_CONNECT_AND_CREATE}}"
    return BUNDLE.replace("      resources:\n", f"      resources:\n        - {{name: memory, postgres: {fields}}}\n")


def about_stores(shop: Shop) -> list[str]:
    return [line for line in shop.said if "GRAPH_AGENT_STORE" in line]


def test_an_app_gets_its_database_as_a_resource_and_the_store_from_it(shop: Shop) -> None:
    shop.write(databricks_yml=with_database(), app_yaml=APP + TAKEN)

    assert shop.deploy() == 0

    declared = shop.apps.apps["shop-dev"]["resources"]
    assert {
        "name": "memory",
        "postgres": {"branch": BRANCH, "database": DATABASE, "permission": "CAN_CONNECT_AND_CREATE"},
    } in declared
    assert f"found memory: postgres {DATABASE}" in shop.said
    assert about_stores(shop) == []


def test_a_database_that_does_not_exist_is_named(shop: Shop) -> None:
    shop.write(databricks_yml=with_database(f"{DATABASE}-gone"), app_yaml=APP + TAKEN)

    assert f"memory: postgres {DATABASE}-gone does not exist" in refused(shop)


def test_an_app_without_a_store_is_told_that_conversations_are_lost(shop: Shop) -> None:
    shop.deploy(dry_run=True)

    [line] = about_stores(shop)
    assert line.startswith("GRAPH_AGENT_STORE is not set: stored conversations are in a file that is lost")


def test_a_database_that_the_app_does_not_use_is_pointed_out(shop: Shop) -> None:
    shop.write(databricks_yml=with_database())
    shop.deploy(dry_run=True)

    [line] = about_stores(shop)
    assert "the app does not use its resource memory: use valueFrom" in line


@pytest.mark.parametrize(("value", "warned"), [(ENDPOINT, True), ("memory", False), ("sqlite:/tmp/it", False)])
def test_an_endpoint_without_a_resource_is_pointed_out(shop: Shop, value: str, warned: bool) -> None:
    shop.write(app_yaml=f"{APP}  - {{name: GRAPH_AGENT_STORE, value: '{value}'}}\n")
    shop.deploy(dry_run=True)

    assert [("has no postgres resource" in line) for line in about_stores(shop)] == [True] * warned


@pytest.mark.parametrize(("named", "used"), [(ENDPOINT, "memory"), ("sqlite:it.db", "sqlite:it.db"), (None, "memory")])
def test_the_start_on_this_machine_touches_neither_the_apps_database_nor_the_deployers_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str | None, used: str
) -> None:
    written = tmp_path / "seen"
    # The app writes down what it was given, and is ready.
    script = (
        "import http.server, os, pathlib\n"
        f"pathlib.Path({str(written)!r}).write_text(os.environ['GRAPH_AGENT_STORE'] + os.environ.get('PGHOST', ''))\n"
        "class Ready(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['DATABRICKS_APP_PORT'])), Ready).serve_forever()\n"
    )
    monkeypatch.setitem(os.environ, "PGHOST", "db.example.com")
    app = AppFile((sys.executable, "app.py"), {} if named is None else {"GRAPH_AGENT_STORE": named}, ())

    rehearse({"app.py": Source("app.py", script.encode(), "")}, ".", app, seconds=30)

    assert written.read_text() == used

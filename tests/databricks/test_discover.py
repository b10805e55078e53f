"""`graph-agent discover`: everything that an agent could use, and what could not be listed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.standin.server import StandIn, stand_in

from graph_agent.commands.cli import main
from graph_agent.databricks import discovery

LISTS: dict[str, dict[str, Any]] = {
    "/api/2.0/serving-endpoints": {
        "endpoints": [
            {"name": "chat", "task": "llm/v1/chat", "state": {"ready": "READY"}},
            {"name": "new", "task": "agent/v2/chat", "state": {"ready": "NOT_READY"}},
            {"name": "vectors", "task": "llm/v1/embeddings"},
            {"name": "other", "task": "custom"},
        ]
    },
    "/api/2.0/vector-search/endpoints": {"endpoints": [{"name": "search"}]},
    "/api/2.0/vector-search/indexes": {"vector_indexes": [{"name": "main.docs.policies"}]},
    "/api/2.1/unity-catalog/catalogs": {"catalogs": [{"name": "main"}, {"name": "__databricks_internal"}]},
    "/api/2.1/unity-catalog/schemas": {"schemas": [{"name": "tools"}, {"name": "information_schema"}]},
    "/api/2.1/unity-catalog/functions": {
        "functions": [{"full_name": "main.tools.price", "comment": "A price.\x1b[2J"}]
    },
    "/api/2.1/unity-catalog/connections": {
        "connections": [{"name": "weather", "options": {"is_mcp_connection": "true"}}, {"name": "mysql", "options": {}}]
    },
    "/api/2.0/genie/spaces": {"spaces": [{"space_id": "01ab", "title": "Sales"}]},
    "/api/2.0/apps": {"apps": [{"name": "mcp-maps", "url": "https://maps.example.com"}, {"name": "shop", "url": "u"}]},
    "/api/2.0/postgres/projects": {"projects": [{"name": "projects/shop"}]},
    "/api/2.0/postgres/projects/shop/branches": {"branches": [{"name": "projects/shop/branches/main"}]},
    "/api/2.0/postgres/projects/shop/branches/main/endpoints": {
        "endpoints": [{"name": "projects/shop/branches/main/endpoints/primary"}]
    },
    "/api/2.0/postgres/projects/shop/branches/main/databases": {
        "databases": [{"name": "projects/shop/branches/main/databases/agents"}]
    },
}


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    async def listed(request: Request) -> Response:
        return JSONResponse(LISTS[request.url.path])

    with stand_in(tmp_path / "workspace", more=[Route(path, listed) for path in LISTS]) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def discovered(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, dict[str, Any]]:
    assert main(["discover", "--json", *options]) == 0
    return {one["kind"]: one for one in json.loads(capsys.readouterr().out)["kinds"]}


def test_every_kind_is_listed_with_how_a_graph_names_it(workspace: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    found = discovered(capsys)
    assert {kind: [item["use"] for item in one["items"]] for kind, one in found.items()} == {
        "models": ['chat_model("databricks:chat")', 'chat_model("databricks:new")'],
        "embeddings": ["GRAPH_AGENT_EMBEDDINGS=databricks:vectors"],
        "indexes": ['DocumentSearch(index="main.docs.policies")'],
        "functions": ['McpServer.functions("main.tools.price")'],
        "genie spaces": ['McpServer.genie("01ab")'],
        "mcp servers in apps": ['McpServer.at("https://maps.example.com/mcp", name="mcp-maps", acting_as="app")'],
        "mcp servers behind connections": ['McpServer.external("weather")'],
        "lakebase endpoints": ["GRAPH_AGENT_STORE=projects/shop/branches/main/endpoints/primary"],
        "lakebase databases": ["database: projects/shop/branches/main/databases/agents"],
    }
    assert not [one for one in found.values() if one["problem"] or one["incomplete"] or one["skipped"]]
    assert main(["discover"]) == 0
    told = capsys.readouterr().out
    assert "models: 2\n  chat\n" in told
    assert "  new (not ready)\n" in told
    assert "A price.\\x1b[2J" in told


def test_one_forbidden_or_broken_kind_does_not_hide_the_others(
    workspace: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.fail("^/api/2.0/genie/spaces$", 403, times=9)
    workspace.fail("^/api/2.0/apps$", 400, times=9)
    found = discovered(capsys)
    assert found["genie spaces"]["problem"] == "you may not list these; ask an admin of the workspace"
    assert found["mcp servers in apps"]["problem"].startswith("they could not be listed (")
    assert found["functions"]["items"]


def test_pages_without_an_end_and_long_lists_are_cut(
    workspace: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "MOST_ITEMS", 3)
    page = {"spaces": [{"space_id": "1"}], "next_page_token": "again"}
    monkeypatch.setitem(LISTS, "/api/2.0/genie/spaces", page)
    monkeypatch.setitem(LISTS, "/api/2.0/apps", {"apps": [], "next_page_token": "again"})
    found = discovered(capsys)
    assert (len(found["genie spaces"]["items"]), found["genie spaces"]["incomplete"]) == (3, True)
    assert found["mcp servers in apps"]["incomplete"]
    assert len(workspace.calls("^/api/2.0/apps$")) == discovery.MOST_PAGES


def test_a_workspace_that_does_not_answer_is_left_at_the_deadline(
    workspace: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery.discover, "__kwdefaults__", {"seconds": 1.5})
    # The thread that waits outlives the command, but not for long.
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "3")
    workspace.stall("^/api/2.0/genie/spaces$")
    found = discovered(capsys)
    assert found["genie spaces"]["problem"] == "the workspace did not answer in time; try again"


def test_functions_are_looked_for_where_the_options_say(workspace: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    found = discovered(capsys, "--catalog", "main", "--schema", "tools")
    assert found["functions"]["items"]
    assert not workspace.calls("^/api/2.1/unity-catalog/(catalogs|schemas)$")
    assert main(["discover", "--schema", "tools"]) == 2
    assert "--schema needs --catalog" in capsys.readouterr().err

"""`/models`: which graphs there are, what people are told about each, and how each looks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from langgraph.graph import START, MessagesState, StateGraph
from openai import OpenAI
from tests.serving.conftest import Service, serving

from graph_agent import Settings
from graph_agent.serving.app import create_app
from graph_agent.testing import AgentClient

pytestmark = pytest.mark.anyio

GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph

def answer(state):
    return {"messages": []}

builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()
"""

DESCRIBED = {
    "path": "./one.py:graph",
    "title": "Number one",
    "description": "Answers.",
    "example_questions": ["Why?", "Wie spät ist es?"],
    "accepts": {"images": True},
    "of_another_tool": 7,
}


def inner(state: MessagesState) -> dict[str, Any]:
    return {"messages": []}


def nested() -> Any:
    """A graph within a graph, with a loop."""
    inside = StateGraph(MessagesState)
    inside.add_node("look", inner)
    inside.add_edge(START, "look")
    builder = StateGraph(MessagesState)
    builder.add_node("planner", inner)
    builder.add_node("search", inside.compile())
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", lambda _: "again", {"again": "search", "done": "__end__"})
    builder.add_edge("search", "planner")
    return builder.compile()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of two graphs, of which one is described."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "one.py").write_text(GRAPH)
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"one": DESCRIBED, "two": "./one.py:graph"}}))
    with serving(config=folder / "langgraph.json") as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_openai_sdk_lists_the_graphs_with_what_langgraph_json_says_about_them(client: OpenAI) -> None:
    one, two = client.models.list().data
    assert one.created > 1_700_000_000
    shared = {"object": "model", "created": one.created, "owned_by": "graph-agent", "available": True}
    assert one.to_dict() == shared | {
        "id": "one",
        "name": "Number one",
        "description": "Answers.",
        "example_questions": ["Why?", "Wie spät ist es?"],
        "accepts": {"images": True, "files": False},
        "default": True,
    }
    assert two.to_dict() == shared | {
        "id": "two",
        "name": "two",
        "description": None,
        "example_questions": [],
        "accepts": {"images": False, "files": False},
        "default": False,
    }


def test_the_openai_sdk_retrieves_a_graph_and_gets_its_own_error_for_one_that_is_not_there(client: OpenAI) -> None:
    assert client.models.retrieve("one") == client.models.list().data[0]
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("three")
    assert (caught.value.code, caught.value.param) == ("unknown_graph", "model")
    assert "known: one, two" in caught.value.message


async def test_graphs_are_the_same_at_all_addresses(service: Service) -> None:
    async with service.client() as client:
        answers = [(await client.get(f"{prefix}/models")).json() for prefix in ("", "/api", "/v1")]
        refused = await client.get("/v1/models?limit=7")
    assert answers[0]["object"] == "list"
    assert answers[0] == answers[1] == answers[2]
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limit")


async def test_a_graph_that_does_not_load_is_listed_as_not_available(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(GRAPH)
    (tmp_path / "bad.py").write_text("import no_such_module")
    manifest = tmp_path / "langgraph.json"
    manifest.write_text(json.dumps({"graphs": {"one": "./one.py:graph", "bad": "./bad.py:graph"}}))
    settings = Settings(config=manifest, reload="on", tracing="off", store="memory")
    async with AgentClient(create_app(settings, environ={})) as client:
        listed = (await client.http.get("/models")).json()["data"]
        drawn = await client.http.get("/models/bad/graph")
    assert {one["id"]: one["available"] for one in listed} == {"one": True, "bad": False}
    assert (drawn.status_code, drawn.json()["error"]["code"]) == (503, "not_ready")


async def test_a_graph_is_drawn_with_the_graphs_within_it() -> None:
    app = create_app(Settings(tracing="off", store="memory"), {"mine": nested()}, environ={})
    async with AgentClient(app) as client:
        drawing = (await client.http.get("/v1/models/mine/graph")).json()
        again = (await client.http.get("/api/models/mine/graph")).json()
        missing = await client.http.get("/v1/models/other/graph")
    assert again == drawing
    assert (drawing["object"], drawing["id"], drawing["complete"]) == ("model.graph", "mine", True)
    assert {tuple(one.values()) for one in drawing["nodes"]} == {
        ("__start__", "__start__", "start", None),
        ("planner", "planner", "node", None),
        ("search:look", "look", "node", "search"),
        ("__end__", "__end__", "end", None),
    }
    assert {tuple(one.values()) for one in drawing["edges"]} == {
        ("__start__", "planner", False, None),
        ("planner", "search:look", True, "again"),
        ("planner", "__end__", True, "done"),
        ("search:look", "planner", False, None),
    }
    assert missing.status_code == 404


async def test_a_graph_that_is_too_large_is_drawn_without_the_graphs_within_it() -> None:
    inside = StateGraph(MessagesState)
    for number in range(501):
        inside.add_node(f"node{number}", inner)
        inside.add_edge(START, f"node{number}")
    builder = StateGraph(MessagesState)
    builder.add_node("team", inside.compile())
    builder.add_edge(START, "team")
    app = create_app(Settings(tracing="off", store="memory"), {"mine": builder.compile()}, environ={})
    async with AgentClient(app) as client:
        drawing = (await client.http.get("/models/mine/graph")).json()
    assert drawing["complete"] is False
    assert [(node["id"], node["group"]) for node in drawing["nodes"]][:2] == [("__start__", None), ("team", None)]
    assert drawing["edges"][0] == {"source": "__start__", "target": "team", "conditional": False, "label": None}


async def test_a_graph_that_nobody_could_read_is_not_drawn() -> None:
    builder = StateGraph(MessagesState)
    for number in range(501):
        builder.add_node(f"node{number}", inner)
        builder.add_edge(START, f"node{number}")
    app = create_app(Settings(tracing="off", store="memory"), {"mine": builder.compile()}, environ={})
    async with AgentClient(app) as client:
        drawing = (await client.http.get("/models/mine/graph")).json()
    assert drawing == {"object": "model.graph", "id": "mine", "complete": False, "nodes": [], "edges": []}


def test_the_graphs_of_this_project_and_of_new_projects_come_with_questions() -> None:
    root = Path(__file__).parents[2]
    for manifest in (root / "langgraph.json", root / "src/graph_agent/project_template/langgraph.json"):
        for entry in json.loads(manifest.read_text())["graphs"].values():
            assert entry["title"]
            assert 3 <= len(entry["example_questions"]) <= 4

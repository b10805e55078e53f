"""An error's text and a run's trace, read by whoever asked: neither tells a secret."""

import json
import secrets
from pathlib import Path

import pytest
from tests.serving.conftest import serving

pytestmark = pytest.mark.anyio

TOKEN = "dapi" + secrets.token_hex(16)
GRAPHS = f"""
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from graph_agent.errors import RetrievalFailed

CALL = {{"name": "look", "args": {{}}, "id": "c1"}}

def fails(state):
    raise RetrievalFailed("the index said {TOKEN}")

def asks(state):
    return {{"messages": [AIMessage("", tool_calls=[CALL])]}}

def refuses(state):
    marks = {{"public_error": True}}
    said = ToolMessage("wrong key {TOKEN}", tool_call_id="c1", status="error", additional_kwargs=marks)
    return {{"messages": [said, AIMessage("Done.")]}}

def mirrors(state):
    return {{"messages": [AIMessage(state["messages"][-1].content[::-1])]}}

def chain(*nodes):
    builder = StateGraph(MessagesState)
    for node in nodes:
        builder.add_node(node.__name__, node)
    names = [node.__name__ for node in nodes]
    for one, two in zip([START, *names], [*names, END]):
        builder.add_edge(one, two)
    return builder.compile()

failing, refusing, mirror = chain(fails), chain(asks, refuses), chain(mirrors)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    (folder / "told.py").write_text(GRAPHS)
    names = ("failing", "refusing", "mirror")
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {name: f"./told.py:{name}" for name in names}}))
    return folder / "langgraph.json"


@pytest.mark.parametrize("graph", ["failing", "refusing"])
async def test_no_error_tells_a_secret_whichever_way_it_goes_out(config: Path, graph: str) -> None:
    with serving(config=config) as service:
        async with service.client() as client:
            for where in ("/responses", "/invocations", "/v1/responses"):
                for stream in (True, False):
                    body = {"model": graph, "input": "Hi", "stream": stream}
                    answer = await client.post(where, json=body)
                    assert TOKEN not in answer.text, (where, stream)
                    assert "[redacted Databricks token]" in answer.text, (where, stream)
    assert all(TOKEN not in line for line in map(str, service.log))


async def test_a_trace_that_is_returned_hides_what_its_request_hides_and_nothing_else(config: Path) -> None:
    cookie = "sunflower-of-the-summer-4711"
    with serving(config=config, tracing="on", tracking_uri="http://127.0.0.1:9") as service:
        async with service.client() as client:
            # The first trace that is asked for imports MLflow.
            client.timeout = 120
            body = {"model": "mirror", "input": cookie[::-1], "databricks_options": {"return_trace": True}}
            hiding = await client.post("/responses", json=body, headers={"cookie": f"session={cookie}"})
            telling = await client.post("/responses", json=body)
    for answer, hidden in ((hiding, True), (telling, False)):
        trace = json.dumps(answer.json()["databricks_output"]["trace"])
        assert (cookie in trace) is not hidden
        assert ("[redacted known secret]" in trace) is hidden
        assert (cookie in answer.json()["output"][-1]["content"][0]["text"]) is not hidden

"""The starter with a search and a tool, as it is shipped: what it should look up it never answers from memory."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.conftest import Service, serving
from tests.standin.server import INDEX, ScriptedModel, StandIn, calls, says, stand_in
from tests.wire import frames

from graph_agent.nodes.answerability import REQUEST
from graph_agent.nodes.retrieval_messages import EMPTY_SEARCH

pytestmark = pytest.mark.anyio

MANIFEST = Path(__file__).parents[2] / "langgraph.json"
MEMORY = "Typically 30 days."
NOTHING = "I did not find this in the documents."
QUESTION = "What is the timeout?"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("standin"), model=ScriptedModel()) as standing:
        yield standing


@pytest.fixture(scope="module")
def service(workspace: StandIn) -> Iterator[Service]:
    environ = workspace.environment()
    with serving(environ, config=MANIFEST, default_graph="starter_search", index=INDEX, max_seconds=170.0) as running:
        yield running


def playing(workspace: StandIn, *, first: Sequence[Any], verdict: str = "yes", then: str = "It is so [1].") -> None:
    """The model's first move of a turn, its word on whether the passages answer, and its answer."""

    def script(body: Mapping[str, Any]) -> Sequence[Any]:
        last = body["messages"][-1]
        if not body.get("tools"):
            return says(verdict if last["content"].endswith(REQUEST) else then)
        return says(then) if last["role"] == "tool" else first

    workspace.model.bodies.clear()
    workspace.model.script = script


def client_of(service: Service) -> httpx.AsyncClient:
    # The first request waits for imports, on a busy machine longer than others may.
    return httpx.AsyncClient(base_url=service.url, timeout=180)


async def asked(service: Service, *, stream: bool, question: str = QUESTION) -> tuple[list[dict[str, Any]], str, str]:
    """Its output items, the last text, and everything that came over the wire."""
    async with client_of(service) as client:
        answer = await client.post("/responses", json={"input": question, "stream": stream})
    assert answer.status_code == 200, answer.text
    response = frames(answer.text)[-2]["response"] if stream else answer.json()
    output = response["output"]
    return output, output[-1]["content"][0]["text"], answer.text


def searched(output: Sequence[Mapping[str, Any]]) -> list[str]:
    return [item["arguments"] for item in output if item["type"] == "function_call" and item["name"] == "search_docs"]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_from_memory_is_searched_for_instead_and_shown_to_nobody(
    service: Service, workspace: StandIn, stream: bool
) -> None:
    playing(workspace, first=says(*MEMORY.split(" ")))
    output, text, wire = await asked(service, stream=stream)
    assert searched(output) == [f'{{"query": "{QUESTION}"}}']
    assert text == "It is so [1]."
    assert "Typically" not in wire
    assert "Typically" not in str(workspace.model.bodies[-1]["messages"])


async def test_a_turn_that_calls_only_a_tool_searches_too(service: Service, workspace: StandIn) -> None:
    playing(workspace, first=calls("order_status", order="a1001"))
    output, _, _ = await asked(service, stream=True, question="When is A1001 refunded?")
    assert searched(output) == ['{"query": "When is A1001 refunded?"}']
    results = [item["output"] for item in output if item["type"] == "function_call_output"]
    assert "sent on 3 May" in results
    assert any(one.startswith("[1] ") or one == EMPTY_SEARCH for one in results)


async def test_a_search_in_the_models_own_words_stays_the_only_one(service: Service, workspace: StandIn) -> None:
    playing(workspace, first=calls("search_docs", query="request timeout"))
    output, _, _ = await asked(service, stream=True)
    assert searched(output) == ['{"query": "request timeout"}']


async def test_what_the_passages_do_not_tell_is_said_not_to_be_found(service: Service, workspace: StandIn) -> None:
    playing(workspace, first=says(MEMORY), verdict="no", then=MEMORY)
    _, text, wire = await asked(service, stream=True)
    assert text == f"{NOTHING} Closest to it is Settings > Timeouts [1]."
    assert "Typically" not in wire


async def test_an_order_that_is_not_there_is_a_result(service: Service, workspace: StandIn) -> None:
    playing(workspace, first=calls("order_status", order="B7"))
    output, _, _ = await asked(service, stream=False)
    assert "There is no order B7." in [item["output"] for item in output if item["type"] == "function_call_output"]


async def test_an_input_without_words_is_not_searched_for(service: Service, workspace: StandIn) -> None:
    playing(workspace, first=says("What is it about?"))
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}
    async with client_of(service) as client:
        answer = await client.post("/responses", json={"input": [{"role": "user", "content": [image]}]})
    assert [item["type"] for item in answer.json()["output"]] == ["message"]


async def test_a_copy_whose_tool_raises_says_that_it_could_not_look_it_up(workspace: StandIn, tmp_path: Path) -> None:
    starter = (MANIFEST.parent / "graphs" / "starter_search.py").read_text()
    broken = starter.replace(
        "    return ORDERS.get", '    raise RuntimeError("no route to the database")\n    return ORDERS.get'
    )
    assert broken != starter
    (tmp_path / "mine.py").write_text(broken)
    (tmp_path / "langgraph.json").write_text('{"graphs": {"mine": "./mine.py:graph"}}')
    playing(workspace, first=calls("order_status", order="A1001"), then="The order A1001 is not found.")
    environ = workspace.environment()
    with serving(environ, config=tmp_path / "langgraph.json", index=INDEX, max_seconds=170.0) as service:
        output, text, wire = await asked(service, stream=True, question="Where is A1001?")
    assert text == "I could not look this up because of a technical fault. Please try again later."
    assert "order_status failed (RuntimeError)." in [
        item["output"] for item in output if item["type"] == "function_call_output"
    ]
    assert "no route" not in wire
    assert [line for line in service.log if line.startswith("tool order_status failed: RuntimeError at ")]

"""Whatever a node raises: one terminal event, a line in the log, and the process lives."""

from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from tests.graphs.unruly.raising import PASSWORD, PLACES, RAISED
from tests.serving.conftest import GRAPHS, Service, serving
from tests.wire import frames

pytestmark = [
    pytest.mark.anyio,
    # LangGraph goes on in a subgraph's coroutine that was closed; nobody is told but the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

UNRULY = GRAPHS.parent / "unruly" / "langgraph.json"
TERMINAL = ("response.completed", "response.incomplete", "response.failed")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(config=UNRULY) as running:
        yield running


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("what", RAISED)
async def test_it_ends_its_own_run_and_nothing_else(service: Service, what: str, where: str) -> None:
    inputs = {"what": what, "where": where}
    del service.log[:]
    with anyio.fail_after(15):
        async with service.client() as client:
            body = {"model": "raising", "input": "Go.", "custom_inputs": inputs}
            streamed = await client.post("/responses", json=body | {"stream": True})
            replied = await client.post("/responses", json=body)
            alive = await client.post("/responses", json={"model": "calm", "input": "Hi"})
            assert (await client.get("/health")).status_code == 200
    *events, done = frames(streamed.text)
    assert done == "[DONE]"
    terminal = [event for event in events if event["type"] in TERMINAL]
    assert terminal == events[-1:]
    assert alive.json()["status"] == "completed"
    if where == "left":
        # Of a task that the run left behind: the run is not ended by it.
        assert terminal[0]["type"] == "response.completed"
        assert replied.json()["status"] == "completed"
        return
    assert terminal[0]["type"] == "response.failed"
    assert terminal[0]["response"]["error"]["code"] == "graph_failed"
    assert (replied.status_code, replied.json()["error"]["code"]) == (500, "graph_failed")
    assert len([line for line in service.log if "failed: graph_failed: " in line]) == 2
    assert not [line for line in service.log if PASSWORD in line]


async def test_a_node_that_ends_so_when_its_time_is_up_ends_its_run_by_the_time(serve: Callable[..., Any]) -> None:
    with serve(config=UNRULY, max_seconds=0.5) as service:
        async with service.client() as client:
            body = {"model": "raising", "input": "Go.", "custom_inputs": {"what": "exit", "where": "late"}}
            answer = await client.post("/responses", json=body)
    assert answer.json()["metadata"]["budget"] == "seconds"

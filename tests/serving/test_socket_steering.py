"""`response.steer` over the WebSocket at `/v1/responses`."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from prometheus_client.parser import text_string_to_metric_families
from starlette.datastructures import Headers
from tests.runs.background import NODES, Nodes
from tests.serving.conftest import Service, serving
from tests.serving.talking import Talk, talking

from graph_agent import AgentState
from graph_agent.identity.caller import Caller
from graph_agent.runs.connection_memory import ConnectionMemories
from graph_agent.runs.registry import Runs
from graph_agent.runs.steering import Steering
from graph_agent.serving.socket_steering import SocketSteering
from graph_agent.serving.socket_turns import Asking, Telling
from graph_agent.serving.socket_writer import ClientLeft, SocketWriter
from graph_agent.settings import Budgets
from graph_agent.stores.sqlite_store import MemoryStore
from graph_agent.stores.steer_records import StoredSteer

pytestmark = pytest.mark.anyio


class Steered:
    """A service whose graph waits in a node, and a connection to it."""

    def __init__(self, service: Service, nodes: Nodes) -> None:
        self.service, self.nodes = service, nodes

    async def at(self, node: str) -> None:
        """Wait until the graph is in this node."""
        waiting = asyncio.run_coroutine_threadsafe(self.nodes.at[node].wait(), self.service.loop)
        await asyncio.wrap_future(waiting)

    def open(self) -> None:
        """Let the graph go on."""
        self.service.loop.call_soon_threadsafe(self.nodes.open)


@pytest.fixture
async def steered() -> AsyncIterator[Steered]:
    nodes = Nodes()

    async def ask(state: AgentState) -> dict[str, Any]:
        nodes.at["one"].set()
        await nodes.gates["one"].wait()
        return {"messages": [AIMessage(f"You said {interrupt({'question': 'Which?'})}.")]}

    async def fail(state: AgentState) -> dict[str, Any]:
        nodes.at["one"].set()
        await nodes.gates["one"].wait()
        raise RuntimeError

    def only(node: Any) -> Any:
        graph: Any = StateGraph(AgentState)
        graph.add_node("only", node)
        return graph.add_edge(START, "only").add_edge("only", END).compile()

    with serving(graphs={"a": nodes.graph(), "asks": only(ask), "fails": only(fail)}, default_graph="a") as service:
        made = Steered(service, nodes)
        yield made
        made.open()


async def begun(talk: Talk, **fields: Any) -> str:
    """The id of the response that a message has begun."""
    await talk.send(input="begin", **fields)
    created = await talk.next()
    assert created["type"] == "response.created"
    response: str = created["response"]["id"]
    return response


async def steer(talk: Talk, response: str, said: Any = "meanwhile", **more: Any) -> None:
    await talk.connection.send(
        json.dumps({"type": "response.steer", "previous_response_id": response, "input": said, **more})
    )


async def steers_counted(service: Service) -> dict[tuple[str, str], float]:
    """What `/metrics` counts of steers, by state and code."""
    async with service.client() as http:
        text = (await http.get("/metrics")).text
    samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
    found = (one for one in samples if one.name == "graph_agent_steers_total")
    return {(one.labels["state"], one.labels["code"]): one.value for one in found}


async def up_to(talk: Talk, *kinds: str) -> dict[str, Any]:
    """The next message of one of these kinds."""
    while True:
        message = await talk.next()
        if message["type"] in kinds:
            return message


@pytest.mark.parametrize("store", [True, False])
async def test_the_response_that_goes_on_follows_on_the_same_connection(steered: Steered, store: bool) -> None:
    steered.nodes.hold("two")
    async with talking(steered.service) as talk:
        response = await begun(talk, store=store)
        await steered.at("two")
        await steer(talk, response)
        accepted = await up_to(talk, "response.steer.accepted")
        assert accepted["steer"]["previous_response_id"] == response
        assert accepted.keys() == {"type", "sequence_number", "steer"}
        steered.open()
        last = await up_to(talk, "response.incomplete")
        assert last["response"]["incomplete_details"]["reason"] == "steered"
        created = await talk.next()
        assert created["type"] == "response.created"
        assert created["response"]["id"] == last["response"]["metadata"]["successor_id"]
        assert (created["response"]["previous_response_id"], created["response"]["store"]) == (response, store)
        done = await up_to(talk, "response.completed")
        assert steered.nodes.done == list(NODES)
        # The connection goes on from there.
        after = await talk.ask(input="and then", store=store, previous_response_id=done["response"]["id"])
        assert after["previous_response_id"] == done["response"]["id"]


async def test_messages_wait_for_the_answer_of_a_person(steered: Steered) -> None:
    steered.nodes.hold("one")
    async with talking(steered.service, model="asks") as talk:
        response = await begun(talk)
        await steered.at("one")
        await steer(talk, response)
        accepted = await up_to(talk, "response.steer.accepted")
        steered.open()
        done = await up_to(talk, "response.completed")
        [question] = done["response"]["output"]
        pending = await talk.next()
        assert pending == {
            "type": "response.steer.pending",
            "sequence_number": 1,
            "steer": accepted["steer"],
            "reason": "waiting_for_required_input",
            "required_input": [{"type": "mcp_approval_response", "approval_request_id": question["id"]}],
        }
        answer = {**pending["required_input"][0], "approve": True}
        after = await talk.ask(input=[answer], previous_response_id=response)
        async with steered.service.client() as http:
            items = (await http.get(f"/v1/responses/{after['id']}/input_items?order=asc")).json()["data"]
    assert [item["type"] for item in items] == ["mcp_approval_response", "message"]


async def test_messages_that_are_not_taken_are_given_back(steered: Steered) -> None:
    steered.nodes.hold("one")
    async with talking(steered.service, model="fails") as talk:
        await steer(talk, "resp_nowhere")
        unknown = await talk.next()
        assert unknown["type"] == "response.steer.failed"
        assert unknown["error"]["code"] == "response_not_found"
        assert unknown["steer"] == {"previous_response_id": "resp_nowhere", "input": "meanwhile"}
        response = await begun(talk)
        await steered.at("one")
        said = [{"type": "message", "role": "system", "content": "Obey."}]
        await steer(talk, response, said)
        wrong = await up_to(talk, "response.steer.failed")
        assert (wrong["error"]["code"], wrong["steer"]["input"]) == ("invalid_input", said)
        await steer(talk, response, stream_id="lane")
        assert (await up_to(talk, "response.steer.failed"))["error"]["code"] == "invalid_input"
        await steer(talk, response)
        accepted = await up_to(talk, "response.steer.accepted")
        steered.open()
        assert (await up_to(talk, "response.failed"))["response"]["id"] == response
        given_back = await talk.next()
        assert (given_back["type"], given_back["error"]["code"]) == ("response.steer.failed", "response_not_active")
        assert given_back["steer"]["id"] == accepted["steer"]["id"]
        assert given_back["steer"]["input"][0]["content"] == "meanwhile"
        await steer(talk, response)
        late = await talk.next()
        assert late["error"]["code"] == "response_already_completed"
        # The connection goes on.
        assert (await talk.turn(input="again"))[-1]["type"] == "response.failed"


async def test_a_client_that_left_before_it_heard_that_its_message_was_accepted_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Accepting:
        steering = Steering(Runs(budgets=Budgets()))

        async def steer(self, fields: Any, *, asking: Any, telling: Any) -> StoredSteer:
            return StoredSteer(id="steer_1", response="resp_1", input=(), created_at=0.0, status="queued")

    async def gone(_: Any) -> None:
        # As the ASGI specification has it.
        raise OSError

    caller = Caller(user="ann")
    memories = ConnectionMemories(MemoryStore, forgotten=lambda _: None, most_bytes=1)
    asking = Asking(caller=caller, headers=Headers(), memory=memories.of(caller))
    turns: Any = Accepting()
    asked: Any = object()
    writer = SocketWriter(gone, together=False, write_seconds=10, cut=lambda: None)
    steering = SocketSteering(asking=asking, turns=turns, writer=writer, path="/v1/responses")
    with pytest.raises(ClientLeft):
        await steering.answer(
            {"previous_response_id": "resp_1", "input": "Hi"},
            Telling(response_id="resp_1", request=asked, reader=asked),
        )
    assert "failed" not in caplog.text


async def test_steers_are_counted_by_what_became_of_them(steered: Steered) -> None:
    steered.nodes.hold("one")
    async with talking(steered.service) as talk, steered.service.client() as http:
        first = await begun(talk)
        await steered.at("one")
        await steer(talk, first)
        await up_to(talk, "response.steer.accepted")
        await steer(talk, "resp_unknown")
        await up_to(talk, "response.steer.failed")
        over_http = {"input": "Over HTTP."}, {"idempotency-key": "one"}
        for _ in range(2):
            answer = await http.post(f"/v1/responses/{first}/steer", json=over_http[0], headers=over_http[1])
            assert answer.status_code == 202
        assert (await http.post(f"/v1/responses/{first}/steer", json={})).status_code == 400
        assert await steers_counted(steered.service) == {
            ("accepted", ""): 2,
            ("refused", "response_not_found"): 1,
            ("refused", "invalid_request"): 1,
        }
        steered.open()
        assert (await up_to(talk, "response.incomplete"))["response"]["id"] == first
        await up_to(talk, "response.completed")
        assert (await steers_counted(steered.service))["taken", ""] == 2


async def test_steers_that_are_given_back_are_counted_with_their_code(steered: Steered) -> None:
    steered.nodes.hold("one")
    async with talking(steered.service, model="fails") as talk:
        response = await begun(talk)
        await steered.at("one")
        await steer(talk, response)
        await up_to(talk, "response.steer.accepted")
        steered.open()
        await up_to(talk, "response.failed")
    assert (await steers_counted(steered.service))["failed", "response_not_active"] == 1

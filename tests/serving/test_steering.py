"""`/responses/{id}/steer` over HTTP: accepted, followed, listed, and refused by name."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from tests.runs.background import NODES, Nodes

from graph_agent import AgentContext, AgentState, make_planner
from graph_agent.serving.app import create_app
from graph_agent.settings import Settings
from graph_agent.testing import AgentClient, Call, ScriptedChatModel, Wait

pytestmark = pytest.mark.anyio

FAMILIES = ["", "/v1", "/api"]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
async def client(nodes: Nodes) -> AsyncIterator[AgentClient]:
    @entrypoint()
    async def without_state(given: Any) -> Any:
        nodes.at["one"].set()
        await nodes.gates["one"].wait()
        return given

    graphs = {"nodes": nodes.graph(), "function": without_state}
    settings = Settings(default_graph="nodes", tracing="off", store="memory", max_seconds=20.0)
    async with AgentClient(create_app(settings, graphs, environ={})) as client:
        yield client
        nodes.open()


async def begun(client: AgentClient, nodes: Nodes, prefix: str = "", **fields: Any) -> tuple[Any, str]:
    """A stream, and the id of its response, whose graph is in the node that it waits in."""
    stream = client.stream({"input": "begin", **fields}, path=f"{prefix}/responses")
    first = await anext(aiter(stream))
    return stream, first["response"]["id"]


async def followed(client: AgentClient, address: str) -> list[dict[str, Any]]:
    """The events of a response, to its end."""
    answer = await client.get(f"{address}?stream=true")
    assert answer.status_code == 200, answer.text
    frames = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(one) for one in frames if one != "[DONE]"]


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("prefix", FAMILIES)
async def test_the_stream_ends_as_steered_and_names_the_response_that_goes_on(
    client: AgentClient, nodes: Nodes, prefix: str, background: bool
) -> None:
    nodes.hold("two")
    stream, response = await begun(client, nodes, prefix, **({"background": True} if background else {}))
    await nodes.at["two"].wait()
    answer = await client.post(f"{prefix}/responses/{response}/steer", json={"input": "meanwhile"})
    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    assert (accepted["object"], accepted["status"], accepted["previous_response_id"]) == (
        *("response.steer", "queued"),
        response,
    )
    nodes.open()
    last = [event async for event in stream][-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"]["reason"] == "steered"
    successor = last["response"]["metadata"]["successor_id"]
    events = await followed(client, f"{prefix}/responses/{successor}")
    assert events[0]["type"] == "response.created"
    assert events[0]["response"]["previous_response_id"] == response
    assert events[-1]["type"] == "response.completed"
    assert nodes.done == list(NODES)
    [listed] = (await client.get(f"{prefix}/responses/{response}/steer")).json()["data"]
    assert (listed["id"], listed["status"], listed["successor_id"]) == (accepted["id"], "taken", successor)
    items = (await client.get(f"{prefix}/responses/{successor}/input_items")).json()["data"]
    assert [item["content"][0]["text"] for item in items] == ["meanwhile"]
    assert (await client.get(f"{prefix}/responses/{response}")).json() == last["response"]


async def test_the_same_request_with_the_same_key_is_accepted_once(client: AgentClient, nodes: Nodes) -> None:
    nodes.hold("two")
    stream, response = await begun(client, nodes)
    address, key = f"/responses/{response}/steer", {"idempotency-key": "k-1"}
    first = (await client.post(address, json={"input": "meanwhile"}, headers=key)).json()
    again = await client.post(address, json={"input": "meanwhile"}, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    other = await client.post(address, json={"input": "another"}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_used")
    nodes.open()
    last = [event async for event in stream][-1]
    # The answer may have been lost, and the response has ended meanwhile.
    late = await client.post(address, json={"input": "meanwhile"}, headers=key)
    assert (late.json()["id"], late.json()["status"]) == (first["id"], "taken")
    [item] = (await client.get(f"/responses/{last['response']['metadata']['successor_id']}/input_items")).json()["data"]
    assert item["content"][0]["text"] == "meanwhile"


async def test_what_cannot_be_steered_says_why(client: AgentClient, nodes: Nodes) -> None:
    async def code(response: str, body: Any, prefix: str = "") -> tuple[int, str, str | None]:
        answer = await client.post(f"{prefix}/responses/{response}/steer", json=body)
        error = answer.json()["error"]
        return answer.status_code, error["code"], error["param"]

    nodes.hold("one")
    unstored, response = await begun(client, nodes, store=False)
    assert await code(response, {"input": "x"}) == (409, "steering_not_supported", None)
    stateless, response = await begun(client, nodes, model="function")
    assert await code(response, {"input": "x"}) == (409, "steering_not_supported", None)
    stream, response = await begun(client, nodes)
    assert await code("resp_unknown", {"input": "x"}) == (404, "response_not_found", None)
    assert await code(response, {"input": "x"}, "/v1") == (409, "other_address", None)
    assert await code(response, {}) == (400, "invalid_request", "input")
    assert await code(response, {"input": " "}) == (400, "invalid_request", "input")
    assert await code(response, {"input": "x", "model": "nodes"}) == (400, "invalid_request", "model")
    assistant = {"role": "assistant", "content": "I said so."}
    assert await code(response, {"input": [assistant]}) == (400, "invalid_request", "input[0]")
    result = {"type": "function_call_output", "call_id": "c", "output": "42"}
    assert await code(response, {"input": [result]}) == (400, "invalid_request", "input[0]")
    sound = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    assert await code(response, {"input": [{"role": "user", "content": [sound]}]}) == (
        *(400, "invalid_request"),
        "input[0].content[0].type",
    )
    for _ in range(16):
        assert (await client.post(f"/responses/{response}/steer", json={"input": "x"})).status_code == 202
    assert await code(response, {"input": "x"}) == (429, "too_many_pending_steers", None)
    nodes.open()
    for one in (unstored, stateless):
        assert [event async for event in one][-1]["type"] == "response.completed"
    last = [event async for event in stream][-1]
    assert await code(response, {"input": "x"}) == (409, "response_already_completed", None)
    successor = last["response"]["metadata"]["successor_id"]
    items = (await client.get(f"/responses/{successor}/input_items")).json()["data"]
    assert len(items) == 16


async def test_a_response_that_was_cancelled_gives_its_messages_back(client: AgentClient, nodes: Nodes) -> None:
    nodes.hold("two")
    stream, response = await begun(client, nodes)
    await nodes.at["two"].wait()
    await client.post(f"/responses/{response}/steer", json={"input": "meanwhile"})
    cancelled = await client.post(f"/responses/{response}/cancel", json={})
    assert cancelled.json()["status"] == "cancelled"
    [listed] = (await client.get(f"/responses/{response}/steer")).json()["data"]
    assert (listed["status"], listed["error_code"]) == ("failed", "response_not_active")
    assert listed["input"][0]["content"][0]["text"] == "meanwhile"
    answer = await client.post(f"/responses/{response}/steer", json={"input": "again"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "response_not_active")
    await stream.aclose()


WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


async def test_what_waits_for_the_results_of_the_client_comes_behind_them() -> None:
    asks, go_on, heard = asyncio.Event(), asyncio.Event(), list[list[tuple[str, str]]]()

    class Held:
        async def wait(self) -> None:
            asks.set()
            await go_on.wait()

    def reply(messages: list[Any]) -> list[Any]:
        heard.append([(one.type, one.text) for one in messages])
        if messages[-1].type == "human" and messages[-1].text == "begin":
            return [Wait(Held()), Call("weather", "{}", id="c1")]
        return ["It rains."]

    graph: Any = StateGraph(AgentState, context_schema=AgentContext)
    graph.add_node("planner", make_planner(model=ScriptedChatModel(reply), tools=[], prompt="Help."))
    graph.add_edge(START, "planner").add_edge("planner", END)
    app = create_app(Settings(tracing="off", store="memory"), {"agent": graph.compile()}, environ={})
    async with AgentClient(app) as client:
        stream = client.stream({"input": "begin", "tools": [WEATHER]}, path="/v1/responses")
        response = (await anext(aiter(stream)))["response"]["id"]
        await asks.wait()
        address = f"/v1/responses/{response}/steer"
        assert (await client.post(address, json={"input": "And tomorrow?"})).status_code == 202
        go_on.set()
        assert [event async for event in stream][-1]["type"] == "response.completed"
        [pending] = (await client.get(address)).json()["data"]
        stub = {"type": "function_call_output", "call_id": "c1", "name": "weather"}
        assert (pending["status"], pending["required_input"]) == ("pending", [stub])
        result = {"type": "function_call_output", "call_id": "c1", "output": "Rain."}
        body = {"input": [result], "previous_response_id": response, "tools": [WEATHER]}
        after = await client.ask(body, path="/v1/responses")
        [taken] = (await client.get(address)).json()["data"]
    assert heard[-1][1:] == [("human", "begin"), ("ai", ""), ("tool", "Rain."), ("human", "And tomorrow?")]
    assert (taken["status"], taken["successor_id"], taken["required_input"]) == ("taken", after["id"], [])


async def test_a_response_that_has_used_up_a_budget_is_followed_by_the_next_turn(nodes: Nodes) -> None:
    nodes.hold("two")
    # The graph needs three.
    settings = Settings(tracing="off", store="memory", max_steps=2)
    async with AgentClient(create_app(settings, {"agent": nodes.graph()}, environ={})) as client:
        stream, response = await begun(client, nodes)
        await nodes.at["two"].wait()
        await client.post(f"/responses/{response}/steer", json={"input": "meanwhile"})
        nodes.open()
        last = [event async for event in stream][-1]
        events = await followed(client, f"/responses/{last['response']['metadata']['successor_id']}")
    assert last["response"]["metadata"].get("budget") == "steps"
    assert events[-1]["response"]["metadata"]["budget"] == "steps"

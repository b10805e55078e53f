"""The WebSocket at `/v1/responses`.

Source: the Open Responses specification of 2026-04-24, "WebSocket Transport".
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from tests.serving.conftest import Service, serving
from tests.serving.talking import talking, text_of
from tests.serving.test_open_responses import check_response

from graph_agent import AgentContext, AgentState, make_planner
from graph_agent.testing import Call, Reasoning, ScriptedChatModel, Usage

pytestmark = pytest.mark.anyio

CLOCK = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}


def reply(messages: list[Any]) -> Any:
    if messages[-1].text == "Which time?":
        return [Call("clock", ["{", "}"], id="c1")]
    if messages[-1].text == "Fail.":
        raise RuntimeError("a secret of a library")
    said = "; ".join(one.text for one in messages[1:])
    return [Reasoning("Well."), f"Heard: {said}", Usage(5, 2)]


def talker() -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=ScriptedChatModel(reply), tools=[], prompt="Help."))
    return builder.add_edge(START, "planner").add_edge("planner", END).compile()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(graphs={"a": talker()}) as running:
        yield running


async def test_the_events_are_those_of_a_stream_each_in_a_message(service: Service) -> None:
    async with talking(service) as talk, service.client() as http:
        told = await talk.turn(input="Hi")
        answer = await http.post("/v1/responses", json={"model": "a", "input": "Hi", "stream": True})
    streamed = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert [one["type"] for one in told] == [one["type"] for one in streamed]
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    check_response(told[-1]["response"])
    assert [one.keys() for one in told] == [one.keys() for one in streamed]


@pytest.mark.parametrize("store", [True, False])
async def test_a_response_is_continued_with_what_is_new(service: Service, store: bool) -> None:
    async with talking(service) as talk:
        first = await talk.ask(input="One", store=store)
        second = await talk.ask(input="Two", store=store, previous_response_id=first["id"])
        third = await talk.ask(input="Three", store=store, previous_response_id=second["id"])
        # Any of them, as in a tree.
        fork = await talk.ask(input="Four", store=store, previous_response_id=first["id"])
    assert (third["store"], third["previous_response_id"]) == (store, second["id"])
    assert text_of(third) == "Heard: One; Heard: One; Two; Heard: One; Heard: One; Two; Three"
    assert text_of(fork) == "Heard: One; Heard: One; Four"


async def test_only_its_connection_knows_a_response_that_is_not_stored(service: Service) -> None:
    async with talking(service) as talk, talking(service) as other, service.client() as http:
        first = await talk.ask(input="One", store=False)
        refused = await other.refused(input="Two", store=False, previous_response_id=first["id"])
        assert (refused["status"], refused["code"]) == (400, "previous_response_not_found")
        assert refused["param"] == "previous_response_id"
        recovered = await other.ask(input="All of it", store=False)
        assert (await http.get(f"/v1/responses/{first['id']}")).status_code == 404
        over_http = {"model": "a", "input": "Two", "previous_response_id": first["id"]}
        assert (await http.post("/v1/responses", json=over_http)).status_code == 404
        second = await talk.ask(input="Two", store=False, previous_response_id=first["id"])
    assert text_of(recovered) == "Heard: All of it"
    assert text_of(second) == "Heard: One; Heard: One; Two"
    async with talking(service) as later:
        gone = await later.refused(input="Two", store=False, previous_response_id=first["id"])
    assert gone["code"] == "previous_response_not_found"


async def test_a_continuation_that_fails_is_forgotten(service: Service) -> None:
    async with talking(service) as talk:
        first = await talk.ask(input="One", store=False)
        output = {"type": "function_call_output", "call_id": "call_missing", "output": "4"}
        orphan = await talk.refused(input=[output], store=False, previous_response_id=first["id"])
        again = await talk.refused(input="Two", store=False, previous_response_id=first["id"])
        assert (orphan["code"], orphan["param"]) == ("invalid_request", "input[0].call_id")
        assert again["code"] == "previous_response_not_found"
        second = await talk.ask(input="One", store=False)
        *_, failed = await talk.turn(input="Fail.", store=False, previous_response_id=second["id"])
        assert failed["type"] == "response.failed"
        after = await talk.refused(input="Two", store=False, previous_response_id=second["id"])
    assert after["code"] == "previous_response_not_found"


async def test_a_failure_is_told_once(service: Service) -> None:
    async with talking(service) as talk:
        told = await talk.turn(input="Fail.")
        assert [one["type"] for one in told] == ["response.created", "response.in_progress", "response.failed"]
        assert "a secret" not in json.dumps(told)
        # The connection goes on.
        assert text_of(await talk.ask(input="Hi")) == "Heard: Hi"


async def test_messages_are_answered_one_after_the_other(service: Service) -> None:
    async with talking(service) as talk:
        for number in range(5):
            await talk.send(input=str(number), store=False)
        answers = [await talk.answer() for _ in range(5)]
    assert [text_of(one[-1]["response"]) for one in answers] == [f"Heard: {number}" for number in range(5)]
    assert all(len({event["response"]["id"] for event in one if "response" in event}) == 1 for one in answers)

"""The WebSocket at `/v1/responses`.

Source: the Open Responses specification of 2026-04-24, "WebSocket Transport".
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from openai import AsyncOpenAI
from tests.serving.conftest import Service, serving
from tests.serving.describing import flaws
from tests.serving.talking import talking, text_of
from tests.serving.test_client_tools import WEATHER, agent
from tests.serving.test_open_responses import check_response

from graph_agent import AgentContext, AgentState, Settings, make_planner
from graph_agent.catalog.built_graphs import BuiltGraphs
from graph_agent.errors import ResponseNotFound
from graph_agent.identity.caller import Caller
from graph_agent.protocol.dialects import OPENAI
from graph_agent.protocol.requests import read_request
from graph_agent.runs.connection_memory import ConnectionMemories
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.runs.run import Run
from graph_agent.stores.sqlite_store import MemoryStore
from graph_agent.testing import Call, Reasoning, ScriptedChatModel, Usage

pytestmark = pytest.mark.anyio


def reply(messages: list[Any]) -> Any:
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


# -- tools of both sides, and a person ------------------------------------------------------------------------------


def calls(*made: tuple[str, str]) -> list[Call]:
    return [Call(name, {"at": "it"} if name == "look" else {"to": "ann"}, id=id_) for name, id_ in made]


def worker_reply(messages: list[Any]) -> Any:
    last = messages[-1]
    if last.type == "human":
        return {
            "Do all of it.": calls(("look", "s1"), ("weather", "c1"), ("send", "s2")),
            "Only send.": calls(("send", "s3")),
        }.get(last.text, [f"I heard {last.text}"])
    return [f"Done: {'; '.join(one.text for one in messages if one.type == 'tool')}"]


@pytest.fixture(scope="module")
def working() -> Iterator[Service]:
    with serving(graphs={"a": agent(ScriptedChatModel(worker_reply, each_turn=True))}) as running:
        yield running


@pytest.mark.parametrize("store", [True, False])
async def test_tools_of_both_sides_and_an_approval_work_in_one_conversation(working: Service, store: bool) -> None:
    async with talking(working) as talk, working.client() as http:
        asking = await talk.ask(input="Do all of it.", store=store, tools=[WEATHER])
        [approval] = [item for item in asking["output"] if item["type"] == "mcp_approval_request"]
        [call] = [item for item in asking["output"] if item["type"] == "function_call"]
        assert (approval["name"], call["call_id"]) == ("send", "c1")
        result = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
        decided = {"type": "mcp_approval_response", "approval_request_id": approval["id"], "approve": True}
        done = await talk.ask(input=[decided, result], store=store, tools=[WEATHER], previous_response_id=asking["id"])
        assert text_of(done).startswith("Done: ")
        assert sorted(text_of(done).removeprefix("Done: ").split("; ")) == ["saw it", "sent to ann", "sunny"]
        refusing = await talk.ask(input="Only send.", store=store, previous_response_id=done["id"])
        [second] = [item for item in refusing["output"] if item["type"] == "mcp_approval_request"]
        denied = {"type": "mcp_approval_response", "approval_request_id": second["id"], "approve": False}
        after = await talk.ask(input=[denied], store=store, previous_response_id=refusing["id"])
        assert "sent to ann" in text_of(after)
        assert text_of(after).count("sent to ann") == 1
        kept = [(await http.get(f"/v1/responses/{one['id']}")).status_code for one in (asking, done, after)]
    assert kept == [200 if store else 404] * 3


async def test_an_approval_is_answered_at_the_connection_that_remembers_it(working: Service) -> None:
    async with talking(working) as talk, talking(working) as other:
        asking = await talk.ask(input="Only send.", store=False)
        [approval] = [item for item in asking["output"] if item["type"] == "mcp_approval_request"]
        decided = {"type": "mcp_approval_response", "approval_request_id": approval["id"], "approve": True}
        refused = await other.refused(input=[decided], store=False)
        assert (refused["status"], refused["code"]) == (404, "approval_not_found")
        done = await talk.ask(input=[decided], store=False, previous_response_id=asking["id"])
    assert text_of(done) == "Done: sent to ann"


# -- what is prepared -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [True, False])
async def test_nothing_runs_for_what_is_only_prepared(service: Service, store: bool) -> None:
    async with talking(service) as talk:
        told = await talk.turn(input="One", store=store, generate=False)
        assert [one["type"] for one in told] == ["response.created", "response.in_progress", "response.completed"]
        prepared = told[-1]["response"]
        check_response(prepared)
        assert prepared["output"] == []
        assert prepared["usage"]["total_tokens"] == 0
        alone = await talk.ask(store=store, previous_response_id=prepared["id"])
        more = await talk.ask(input="Two", store=store, previous_response_id=prepared["id"])
        twice = await talk.ask(input=[], store=store, generate=False, previous_response_id=more["id"])
        after = await talk.ask(input="Three", store=store, previous_response_id=twice["id"])
    assert (text_of(alone), text_of(more)) == ("Heard: One", "Heard: One; Two")
    assert text_of(after) == "Heard: One; Two; Heard: One; Two; Three"


async def test_a_turn_that_asks_nothing_is_refused(service: Service) -> None:
    async with talking(service) as talk:
        first = await talk.ask(input="One", store=False)
        refused = await talk.refused(input=[], store=False, previous_response_id=first["id"])
        assert "leaves nothing to answer" in refused["message"]
        assert (await talk.refused(input=[]))["param"] == "input"


# -- where a response is remembered ---------------------------------------------------------------------------------


async def test_a_stored_response_may_be_continued_without_storing_more(service: Service) -> None:
    async with talking(service) as talk, service.client() as http:
        stored = await talk.ask(input="One")
        unstored = await talk.ask(input="Two", store=False, previous_response_id=stored["id"])
        third = await talk.ask(input="Three", store=False, previous_response_id=unstored["id"])
        # The history would be stored, which nobody has asked for.
        refused = await talk.refused(input="Four", previous_response_id=third["id"])
        assert (await http.get(f"/v1/responses/{unstored['id']}")).status_code == 404
    assert text_of(third) == "Heard: One; Heard: One; Two; Heard: One; Heard: One; Two; Three"
    assert refused["code"] == "previous_response_not_found"
    assert "`store: false`" in refused["message"]


async def test_a_response_of_http_is_continued_over_the_socket_and_back(service: Service) -> None:
    async with talking(service) as talk, service.client() as http:
        first = (await http.post("/v1/responses", json={"model": "a", "input": "One"})).json()
        second = await talk.ask(input="Two", previous_response_id=first["id"])
        body = {"model": "a", "input": "Three", "previous_response_id": second["id"]}
        third = (await http.post("/v1/responses", json=body)).json()
    assert text_of(third) == "Heard: One; Heard: One; Two; Heard: One; Heard: One; Two; Three"


async def test_the_conversation_continued_least_recently_is_forgotten_first() -> None:
    with serving(graphs={"a": talker()}, socket_memory_bytes=60_000) as service:
        async with talking(service) as talk:
            first = await talk.ask(input="x" * 10_000, store=False)
            second = await talk.ask(input="Two", store=False)
            first = await talk.ask(input="y" * 10_000, store=False, previous_response_id=first["id"])
            refused = await talk.refused(input="More", store=False, previous_response_id=second["id"])
            assert refused["code"] == "previous_response_not_found"
            # More than all that may be remembered.
            large = await talk.ask(input="z" * 80_000, store=False)
            refused = await talk.refused(input="More", store=False, previous_response_id=large["id"])
            assert refused["code"] == "previous_response_not_found"


async def test_nothing_is_left_when_a_connection_has_ended() -> None:
    store = MemoryStore()
    forgotten: list[str] = []
    memories = ConnectionMemories(lambda: store, forgotten=forgotten.append, most_bytes=1_000_000)
    runs = Runs(budgets=Settings().budgets)
    graphs = BuiltGraphs({"a": talker()}, default=None)
    memory = memories.of(Caller("ann"))

    async def turn(text: str, previous: str | None = None) -> Run:
        body = {"model": "a", "input": text, "store": False, "previous_response_id": previous}
        invocation = read_request(body, graphs=["a"], stores=True, of_connection=True)
        asked = RunRequest(
            invocation=invocation, dialect=OPENAI, owner=Caller("ann"), accepted_at=0.0, connection=memory.id
        )
        run = await runs.start(asked, Scope(), graphs=graphs, store=await memory.store())
        await run.reply()
        await memory.keep(run.request, run.id)
        return run

    first = await turn("One")
    second = await turn("Two", first.id)
    assert memory.has(second.id)
    # Nobody can join it elsewhere, so its events are not kept.
    assert runs.kept.find(Caller("ann"), second.id) is None
    assert second.request.turn is not None
    place = second.request.turn.continuation
    assert await store.bytes_of(memory.owner, place.conversation) > 0
    await memory.aclose()
    assert not memory.has(second.id)
    assert await store.bytes_of(memory.owner, place.conversation) == 0
    with pytest.raises(ResponseNotFound):
        await store.responses.get(memory.owner, first.id)
    saver = store.checkpointer()
    assert [one async for one in saver.alist({"configurable": {"thread_id": place.thread}})] == []
    assert forgotten == [place.thread]
    await memories.aclose()


# -- a client of OpenAI ---------------------------------------------------------------------------------------------


async def test_the_sdk_of_openai_holds_a_conversation(service: Service) -> None:
    client = AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0)
    async with client, client.responses.connect() as connection:
        said, previous = [], None
        for text in ("One", "Two"):
            await connection.response.create(
                model="a", input=text, store=False, **({} if previous is None else {"previous_response_id": previous})
            )
            async for event in connection:
                if event.type == "response.completed":
                    said.append(event.response.output_text)
                    previous = event.response.id
                    break
    assert said == ["Heard: One", "Heard: One; Heard: One; Two"]


async def test_two_places_in_one_message_are_refused(service: Service) -> None:
    async with talking(service) as talk:
        first = await talk.ask(input="One", store=False)
        named = {"conversation": "conv_1", "previous_response_id": first["id"]}
        refused = await talk.refused(input="Two", store=False, **named)
    assert refused["param"] == "conversation"


async def test_every_message_is_as_the_description_of_the_api_says(service: Service) -> None:
    async with talking(service) as talk, service.client() as http:
        described = (await http.get("/openapi.json")).json()
        told = [
            *await talk.turn(input="Hi"),
            *await talk.turn(input="Fail."),
            *await talk.turn(input="Two", store=False, previous_response_id="resp_never"),
            *await talk.turn(input="Hi", stream_id="lane"),
            *await talk.turn(input=""),
        ]
    messages = described["paths"]["/v1/responses"]["x-openresponses-websocket"]
    schemas = {"$defs": described["components"]["schemas"]}

    def schema_of(kind: str) -> dict[str, Any]:
        text = json.dumps({**messages[kind], **schemas}).replace("#/components/schemas/", "#/$defs/")
        schema: dict[str, Any] = json.loads(text)
        return schema

    server, error = schema_of("serverMessage"), schema_of("errorMessage")
    assert [flaws(error if one["type"] == "error" else server, one) for one in told] == [[]] * len(told)
    assert [one["error"]["code"] for one in told if one["type"] == "error"] == [
        *("previous_response_not_found", "unsupported_field", "invalid_request"),
    ]
    asked = {"type": "response.create", "model": "a", "input": "Hi", "generate": False}
    assert flaws(schema_of("clientMessage"), asked) == []
    assert flaws(schema_of("clientMessage"), {**asked, "background": True}) != []

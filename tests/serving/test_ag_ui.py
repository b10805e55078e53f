"""AG-UI: its requests and events, by a client that puts messages together as `@ag-ui/client` does."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Annotated, Any

import anyio
import httpx
import pytest
from ag_ui.core import Event
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send, interrupt
from pydantic import Field, TypeAdapter
from tests.serving.describing import flaws, schema_in
from tests.wire import frames

from graph_agent import AgentContext, AgentState, Settings, create_app, make_planner, make_tools, requested_nodes
from graph_agent.testing import AgentClient, Call, Reasoning, ScriptedChatModel, Wait

pytestmark = pytest.mark.anyio

EVENTS: TypeAdapter[Any] = TypeAdapter(Annotated[Event, Field()])
COLOR = {"name": "set_color", "description": "Set it.", "parameters": {"type": "object", "properties": {}}}


@tool
def look(at: str) -> str:
    """Look at something."""
    return f"saw {at}"


@tool
def send(to: str) -> str:
    """Send a mail."""
    return f"sent to {to}"


def planner(model: Any) -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=model, tools=[look, send], prompt="Help."))
    builder.add_node("tools", make_tools([look, send], approve=["send"]))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes("none"), ["tools", END])
    builder.add_edge("tools", "planner")
    return builder.compile()


def graph_of(*nodes: Any) -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_sequence(list(nodes))
    builder.add_edge(START, nodes[0].__name__)
    return builder.compile()


class Page:
    """A page with one thread: it applies events to its messages, and sends all of them with each run."""

    def __init__(self, http: httpx.AsyncClient, *, graph: str = "", thread: str = "t1", **headers: str) -> None:
        self.http, self.path, self.thread = http, f"/ag-ui{graph}", thread
        self.headers = headers
        self.messages: list[dict[str, Any]] = []
        self.schema: Mapping[str, Any] = {}
        self._numbers = count(1)

    def body(self, **fields: Any) -> dict[str, Any]:
        given = {"threadId": self.thread, "runId": f"run{next(self._numbers)}", "messages": self.messages}
        return given | {"tools": [], "context": [], "state": {}, "forwardedProps": {}} | fields

    def says(self, content: Any) -> None:
        self.messages.append({"id": f"m{len(self.messages)}", "role": "user", "content": content})

    async def run(self, content: Any = None, **fields: Any) -> list[dict[str, Any]]:
        if content is not None:
            self.says(content)
        answer = await self.http.post(self.path, json=self.body(**fields), headers=self.headers)
        assert answer.status_code == 200, answer.text
        events = frames(answer.text)
        for event in events:
            self._apply(event)
        return events

    async def refused(self, **fields: Any) -> tuple[int, str, str]:
        answer = await self.http.post(self.path, json=self.body(**fields), headers=self.headers)
        error = answer.json()["error"]
        return answer.status_code, error["param"], error["message"]

    def _apply(self, event: dict[str, Any]) -> None:
        read = EVENTS.validate_python(event)
        assert read.model_dump(mode="json", by_alias=True) == event
        if self.schema:
            assert flaws(self.schema, event) == []
        match event["type"]:
            case "TEXT_MESSAGE_START":
                self.messages.append({"id": event["messageId"], "role": "assistant", "content": ""})
            case "TEXT_MESSAGE_CONTENT":
                self._of(event["messageId"])["content"] += event["delta"]
            case "TOOL_CALL_START":
                function = {"name": event["toolCallName"], "arguments": ""}
                calls = [{"id": event["toolCallId"], "type": "function", "function": function}]
                self.messages.append({"id": event["toolCallId"], "role": "assistant", "toolCalls": calls})
            case "TOOL_CALL_ARGS":
                self._of(event["toolCallId"])["toolCalls"][0]["function"]["arguments"] += event["delta"]
            case "TOOL_CALL_RESULT":
                place = self.messages.index(self._of(event["toolCallId"])) + 1
                result = {"id": event["messageId"], "role": "tool", "toolCallId": event["toolCallId"]}
                self.messages.insert(place, result | {"content": event["content"]})
            case "REASONING_MESSAGE_START":
                self.messages.append({"id": event["messageId"], "role": "reasoning", "content": ""})
            case "REASONING_MESSAGE_CONTENT":
                self._of(event["messageId"])["content"] += event["delta"]

    def _of(self, id_: str) -> dict[str, Any]:
        return next(one for one in self.messages if one["id"] == id_)


@asynccontextmanager
async def serving(*replies: Any, graph: Any = None, **settings: Any) -> AsyncIterator[tuple[AgentClient, Any]]:
    model = ScriptedChatModel(*replies)
    graphs = {"a": planner(model), "b": graph or planner(model)}
    values: dict[str, Any] = {"tracing": "off", "store": "memory", "default_graph": "a"}
    async with AgentClient(create_app(Settings(**values | settings), graphs, environ={})) as http:
        yield http, model


@asynccontextmanager
async def page(*replies: Any, **options: Any) -> AsyncIterator[tuple[Page, Any]]:
    async with serving(*replies, **options) as (http, model):
        yield Page(http.http, graph="/b" if "graph" in options else ""), model


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [one["type"] for one in events if not one["type"].startswith("STEP_")]


def heard(model: Any) -> list[tuple[str, str]]:
    return [(one.type, one.text) for one in model.requests[-1].messages if one.type != "system"]


def interrupts(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    outcome = events[-1]["outcome"]
    assert outcome["type"] == "interrupt"
    found: list[dict[str, Any]] = outcome["interrupts"]
    return found


def resolved(event: Mapping[str, Any], payload: Any) -> list[dict[str, Any]]:
    return [{"interruptId": event["id"], "status": "resolved", "payload": payload}]


# -- texts and tools ------------------------------------------------------------------------------------------------


async def test_a_run_is_told_from_its_start_to_its_end() -> None:
    async with page(["Hello ", "world."]) as (talk, _):
        document = (await talk.http.get("/openapi.json")).json()
        talk.schema = schema_in(document, "AgUiEvent")
        events = await talk.run("Hi", parentRunId="run0")
        assert kinds(events)[:2] == ["RUN_STARTED", "TEXT_MESSAGE_START"]
        assert kinds(events)[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
        assert events[0] == {"type": "RUN_STARTED", "threadId": "t1", "runId": "run1", "parentRunId": "run0"}
        assert events[-1]["runId"] == "run1"
        assert events[-1]["outcome"] == {"type": "success"}
        assert events[-1]["usage"][0]["totalTokens"] == 10
        assert talk.messages[-1]["content"] == "Hello world."

        stored = await talk.http.get(f"/responses/{events[-1]['result']['response_id']}")
        assert stored.json()["output"][0]["id"] == talk.messages[-1]["id"]
        assert (await talk.http.get("/conversations/t1")).json()["title"] == "Hi"


async def test_what_the_graph_does_itself_is_told_and_is_not_added_again() -> None:
    replies = [Reasoning("I must look."), "Let me see.", Call("look", {"at": "it"}, id="c1")], "It is red.", "Bye."
    async with page(*replies) as (talk, model):
        document = (await talk.http.get("/openapi.json")).json()
        talk.schema = schema_in(document, "AgUiEvent")
        events = await talk.run("What is it?")
        calls = [one for one in events if one["type"].startswith("TOOL_CALL_")]
        assert [one["type"] for one in calls] == [f"TOOL_CALL_{one}" for one in ("START", "ARGS", "END", "RESULT")]
        assert {one["toolCallId"] for one in calls} == {"c1"}
        assert [one["role"] for one in talk.messages] == [
            "user",
            "reasoning",
            "assistant",
            "assistant",
            "tool",
            "assistant",
        ]
        assert "pendingToolCallIds" not in events[-1]["outcome"]

        await talk.run("Thanks.")
        before = [("human", "What is it?"), ("ai", "Let me see."), ("tool", "saw it"), ("ai", "It is red.")]
        assert heard(model) == [*before, ("human", "Thanks.")]
        assert len((await talk.http.get("/conversations/t1/responses")).json()["data"]) == 2


async def test_steps_are_told_once_although_nodes_of_a_name_run_together() -> None:
    def spread(state: Any) -> Any:
        return [Send("work", {"messages": []})] * 3

    def work(state: Any) -> dict[str, Any]:
        return {"messages": []}

    def last(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("Done.")]}

    builder = StateGraph(AgentState)
    for node in (work, last):
        builder.add_node(node.__name__, node)  # type: ignore[type-var]
    builder.add_conditional_edges(START, spread, ["work"])
    builder.add_edge("work", "last")
    async with page("-", graph=builder.compile()) as (talk, _):
        events = await talk.run("Go")
        steps = [(one["type"], one["stepName"]) for one in events if one["type"].startswith("STEP_")]
        assert steps == [
            ("STEP_STARTED", "work"),
            ("STEP_FINISHED", "work"),
            ("STEP_STARTED", "last"),
            ("STEP_FINISHED", "last"),
        ]
        assert "steps" not in events[-1]["result"]["custom_outputs"]


@pytest.mark.parametrize("version", [None, "1.0"])
async def test_a_tool_of_the_page_is_called_and_its_result_continues_the_run(version: str | None) -> None:
    call = Call("set_color", ['{"co', 'lor": "re', 'd"}'], id="c1")
    async with page(call, "It is red now.") as (talk, model):
        more = {"tools": [COLOR]} | ({"protocolVersion": version} if version else {})
        events = await talk.run("Red", **more)
        assert [one["delta"] for one in events if one["type"] == "TOOL_CALL_ARGS"] == ['{"co', 'lor": "re', 'd"}']
        # Clients before 1.0 refuse what they do not know in an outcome.
        assert events[-1]["outcome"].get("pendingToolCallIds") == (["c1"] if version else None)
        talk.messages.append({"id": "m9", "role": "tool", "toolCallId": "c1", "content": "", "error": "no paint"})
        await talk.run(**more)
        assert talk.messages[-1]["content"] == "It is red now."
        assert heard(model) == [("human", "Red"), ("ai", ""), ("tool", "no paint")]


async def test_the_same_messages_again_ask_for_another_answer() -> None:
    async with page("One.", "Two.", "Three.") as (talk, model):
        await talk.run("Count.")
        talk.messages.pop()
        await talk.run()
        assert talk.messages[-1]["content"] == "Two."
        await talk.run("On.")
        assert heard(model) == [("human", "Count."), ("ai", "Two."), ("human", "On.")]


async def test_images_and_files_reach_the_model_as_blocks() -> None:
    data = {"type": "data", "value": "QUJD"}
    parts = [
        {"type": "text", "text": "See"},
        {"type": "image", "source": {**data, "mimeType": "image/png"}},
        {"type": "image", "source": {"type": "url", "value": "https://example.com/a.png"}},
        {"type": "audio", "source": {**data, "mimeType": "audio/mpeg"}},
        {"type": "document", "source": {**data, "mimeType": "application/pdf"}, "metadata": {"filename": "a.pdf"}},
        {"type": "binary", "mimeType": "image/gif", "data": "QUJD"},
    ]
    async with page("Seen.") as (talk, model):
        await talk.run(parts)
        content = model.requests[0].messages[-1].content
        assert [one["type"] for one in content] == [
            "text",
            "image_url",
            "image_url",
            "audio",
            "file",
            "image_url",
        ]
        assert content[1]["image_url"]["url"] == "data:image/png;base64,QUJD"
        assert (content[3]["base64"], content[3]["mime_type"]) == ("QUJD", "audio/mp3")
        assert content[4]["base64"] == "QUJD"
        assert "a.pdf" in json.dumps(content[4])


# -- what a page brings, and what a graph asks -------------------------------------------------------------------------


async def test_state_and_context_reach_the_graph_and_its_own_state_the_page() -> None:
    async def shows(state: Any, runtime: Runtime[AgentContext]) -> dict[str, Any]:
        inputs = dict(runtime.context.custom_inputs)
        words = [one.text for one in state["messages"]]
        return {"messages": [AIMessage(json.dumps([inputs, words]))], "custom_outputs": {"state": {"steps": 2}}}

    async with page("-", graph=graph_of(shows)) as (talk, _):
        told = {"state": {"steps": 1}, "forwardedProps": {"plan": "gold"}}
        events = await talk.run("Hi", context=[{"description": "The user", "value": "Ann"}], **told)
        inputs, words = json.loads(talk.messages[-1]["content"])
        assert inputs == {"state": {"steps": 1}, "forwarded_props": {"plan": "gold"}}
        assert words == ["The user:\nAnn", "Hi"]
        snapshots = [one["snapshot"] for one in events if one["type"] == "STATE_SNAPSHOT"]
        assert snapshots == [{"steps": 2}]

        await talk.run("Again")
        # Context belongs to one run.
        assert json.loads(talk.messages[-1]["content"]) == [{}, ["Hi", talk.messages[1]["content"], "Again"]]


@pytest.mark.parametrize(
    ("payload", "result"),
    [
        ({"approved": True}, "sent to ann"),
        (True, "sent to ann"),
        ({"approved": True, "editedArgs": {"to": "eve"}}, "sent to eve"),
        ({"approved": True, "output": "was sent before"}, "was sent before"),
        ({"approved": False, "reason": "not today"}, "The user rejected this call of send and said: not today."),
        (None, "The user rejected this call of send."),
    ],
)
async def test_a_call_waits_for_the_decision_of_a_person(payload: Any, result: str) -> None:
    async with page(["Mailing.", Call("send", {"to": "ann"})], "Done.", "Bye.") as (talk, model):
        document = (await talk.http.get("/openapi.json")).json()
        talk.schema = schema_in(document, "AgUiEvent")
        (asked,) = interrupts(await talk.run("Mail Ann."))
        assert (asked["reason"], asked["toolCallId"]) == ("tool_call", asked["id"])
        assert asked["metadata"]["arguments"] == {"to": "ann"}
        assert asked["responseSchema"]["properties"]["editedArgs"]["properties"] == {"to": {"type": "string"}}

        answer = resolved(asked, payload) if payload else [{"interruptId": asked["id"], "status": "cancelled"}]
        events = await talk.run(resume=answer)
        assert events[-1]["outcome"] == {"type": "success"}
        told = next(one for one in events if one["type"] == "TOOL_CALL_RESULT")
        assert told["toolCallId"] == asked["id"]
        assert result in told["content"]

        await talk.run("Bye.")
        assert [kind for kind, _ in heard(model)] == ["human", "ai", "tool", "ai", "human"]


async def test_a_question_is_answered_with_any_value() -> None:
    async def ask(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(json.dumps(interrupt("Which color?")))]}

    async with page("-", graph=graph_of(ask)) as (talk, _):
        (asked,) = interrupts(await talk.run("Paint."))
        assert (asked["reason"], asked["message"]) == ("input_required", "Which color?")
        events = await talk.run(resume=resolved(asked, {"approved": True, "color": "red"}))
        assert json.loads(talk.messages[-1]["content"]) == {"approved": True, "color": "red"}
        assert "TOOL_CALL_RESULT" not in kinds(events)


async def test_a_call_that_is_asked_about_again_is_told_once() -> None:
    async with page(["Mailing.", Call("send", {"to": "ann"})], "Done.") as (talk, _):
        (asked,) = interrupts(await talk.run("Mail Ann."))
        events = await talk.run("Well?")
        assert [one["id"] for one in interrupts(events)] == [asked["id"]]
        assert not any(kind.startswith("TOOL_CALL") for kind in kinds(events))


@pytest.mark.parametrize(
    ("payload", "param", "words"),
    [
        ("yes", "resume[0].payload", "must be an object with `approved`"),
        ({"approved": True, "args": {}}, "resume[0].payload", "known: approved, editedArgs, reason, output"),
        ({"approved": False, "editedArgs": {}}, "resume[0].payload", "needs `approved: true`"),
        ({"approved": True, "editedArgs": "x"}, "resume[0].payload", "must be a JSON object"),
    ],
)
async def test_a_decision_that_cannot_be_read_is_refused_by_its_place(payload: Any, param: str, words: str) -> None:
    async with page(["Mailing.", Call("send", {"to": "ann"})], "Done.") as (talk, _):
        (asked,) = interrupts(await talk.run("Mail Ann."))
        status, path, message = await talk.refused(resume=resolved(asked, payload))
        assert (status, path) == (400, param)
        assert words in message
        events = await talk.run(resume=resolved(asked, {"approved": True}))
        assert events[-1]["outcome"]["type"] == "success"


async def test_an_interrupt_and_a_thread_belong_to_their_caller() -> None:
    async with serving(
        ["Mailing.", Call("send", {"to": "ann"})], "Hello.", user_header="x-user", bearer_token="front-end"
    ) as (http, model):
        ann, bob = (Page(http.http, **{"x-user": name, "authorization": "Bearer front-end"}) for name in ("ann", "bob"))
        (asked,) = interrupts(await ann.run("Mail Ann."))
        bob.says("Yes")
        status, param, _ = await bob.refused(resume=resolved(asked, {"approved": True}))
        assert (status, param) == (404, "resume[0].interruptId")
        await bob.run()
        assert heard(model) == [("human", "Yes")]


# -- failures --------------------------------------------------------------------------------------------------------


async def test_a_run_that_fails_ends_with_its_error() -> None:
    async with page(["Half an", RuntimeError("a secret of the endpoint")], "Whole.") as (talk, _):
        events = await talk.run("Go")
        assert events[-1]["type"] == "RUN_ERROR"
        assert events[-1]["code"] == "model_failed"
        assert "secret of" not in json.dumps(events)
        assert kinds(events)[-2] == "TEXT_MESSAGE_END"
        await talk.run("Again")
        assert talk.messages[-1]["content"] == "Whole."


async def test_a_budget_that_is_spent_is_said_in_the_result() -> None:
    async with page(Call("look", {"at": "it"}), "Done.", max_tool_calls=1, max_steps=1) as (talk, _):
        result = (await talk.run("Go"))[-1]["result"]
        assert (result["status"], result["metadata"]["budget"]) == ("incomplete", "steps")


async def test_a_page_that_leaves_stops_its_run_at_once() -> None:
    reached = asyncio.Event()
    # The grace period is for clients that can come back.
    async with page(["Wait", Wait(reached=reached)], "Back.", grace_seconds=1_000.0) as (talk, model):
        talk.says("Go")
        async with talk.http.stream("POST", "/ag-ui", json=talk.body()) as stream:
            address = f"/responses/{stream.headers['x-request-id']}"
            await reached.wait()
        with anyio.fail_after(20):
            while (stored := (await talk.http.get(address)).json())["status"] == "in_progress":
                pass
        assert stored["status"] == "cancelled"
        await talk.run("Again")
        assert heard(model)[-1] == ("human", "Again")


IMAGE = {"type": "image", "source": {"type": "data", "value": "QUJD"}}
VIDEO = {"type": "video", "source": {"type": "url", "value": "https://example.com/a.mp4"}}
FILE = {"type": "document", "source": {"type": "url", "value": "https://example.com/a.pdf"}}


def user(*content: Any) -> dict[str, Any]:
    return {"messages": [{"id": "1", "role": "user", "content": list(content)}]}


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"threadId": None}, "threadId", "a string that is not empty"),
        ({"threadId": "x" * 300}, "threadId", "at most 256 characters"),
        ({"runId": 7}, "runId", "a string"),
        ({"messages": []}, "messages", "add a user's message"),
        ({"messages": [{"id": "1", "role": "assistant", "content": "Hi"}]}, "messages", "nothing to answer"),
        ({"messages": [{"id": "1", "role": "robot"}]}, "messages[0].role", "one of developer"),
        ({"messages": [{"id": "1", "role": "tool", "content": "x"}]}, "messages[0].toolCallId", "is missing"),
        (user(IMAGE), "messages[0].content[0].source.mimeType", "is missing"),
        (user(VIDEO), "messages[0].content[0]", "a video"),
        (user(FILE), "messages[0].content[0].source", "fetches no files"),
        (user({"type": "binary", "mimeType": "a/b", "id": "f1"}), "messages[0].content[0].id", "fetches no files"),
        ({"tools": [{"name": "look", "description": "x"}]}, "tools", "a tool of the graph"),
        ({"tools": [{"name": "not a name"}]}, "tools[0].name", "letters, digits"),
        ({"context": [{"value": "x"}]}, "context[0].description", "is missing"),
        ({"resume": [{"interruptId": "x", "status": "done"}]}, "resume[0].status", "one of resolved, cancelled"),
        ({"resume": [{"interruptId": "mcpr_1", "status": "cancelled"}]}, "resume[0].interruptId", "no such approval"),
        ({"thread_id": "t"}, "thread_id", "Did you mean `threadId`?"),
        ({"model": "a"}, "model", "POST to /ag-ui/NAME"),
        ({"temperature": 1}, "temperature", "into `forwardedProps`"),
    ],
)
async def test_a_request_that_is_wrong_is_refused_by_its_field(fields: dict[str, Any], param: str, words: str) -> None:
    async with page("Never said.") as (talk, model):
        talk.says("Hi")
        status, path, message = await talk.refused(**fields)
        assert (status, path) == (404 if "no such" in words else 400, param)
        assert words in message
        assert model.requests == []


async def test_a_graph_that_does_not_exist_and_a_key_are_refused() -> None:
    async with serving("-") as (http, _):
        status, param, message = await Page(http.http, graph="/nothing").refused(messages=user("x")["messages"])
        assert (status, param) == (400, "messages[0].content[0]")
        talk = Page(http.http, graph="/nothing")
        talk.says("Hi")
        status, param, message = await talk.refused()
        assert (status, param, message) == (404, "graph", "No graph named 'nothing'; known: a, b.")
        keyed = Page(http.http, **{"idempotency-key": "k"})
        keyed.says("Hi")
        assert (await keyed.refused())[:2] == (400, "Idempotency-Key")


async def test_a_thread_in_which_a_run_is_in_progress_and_a_limit_that_is_reached_have_their_errors() -> None:
    reached, go = asyncio.Event(), asyncio.Event()
    async with page([Wait(go, reached=reached), "One."], limit_user_requests_per_day=2) as (first, _):
        first.says("Hi")
        async with first.http.stream("POST", first.path, json=first.body()) as told:
            await reached.wait()
            busy = await first.http.post(first.path, json=first.body())
            go.set()
            await told.aread()
        limited = await first.http.post(first.path, json=first.body())
    assert (busy.status_code, busy.json()["error"]["code"]) == (409, "conversation_busy")
    assert (limited.status_code, limited.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(limited.headers["retry-after"]) > 0

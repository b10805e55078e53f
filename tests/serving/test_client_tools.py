"""The tools of the client: called by the model, run by the client, beside those of the graph and its approvals."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import ANY

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import tools_condition
from langgraph.runtime import Runtime

from graph_agent import (
    AgentContext,
    AgentState,
    ClientToolsMiddleware,
    Settings,
    create_app,
    make_planner,
    make_tools,
    requested_nodes,
    takes_client_tools,
)
from graph_agent.testing import AgentClient, Call, Finish, RequestRefused, ScriptedChatModel

pytestmark = pytest.mark.anyio

OPENAI, DATABRICKS = "/v1/responses", "/responses"

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
SQL = {"type": "custom", "name": "sql", "description": "Run a statement."}
CRM = {"type": "namespace", "name": "crm", "description": "Customers", "tools": [{"type": "function", "name": "find"}]}
TOOLS = [WEATHER, SQL, CRM]

ROME = Call("weather", {"city": "Rome"}, id="c1")
LOOK = Call("look", {"at": "it"}, id="c2")
SEND = Call("send", {"to": "ann"}, id="c2")
FIND = Call("crm__find", {"who": "bob"}, id="c3")


@tool
def look(at: str) -> str:
    """Look at something."""
    return f"saw {at}"


@tool
def send(to: str) -> str:
    """Send a mail."""
    return f"sent to {to}"


def planner(model: Any, *, router: Any = None) -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=model, tools=[look, send], prompt="Help."))
    builder.add_node("tools", make_tools([look, send], approve=["send"]))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", router or requested_nodes("none"), ["tools", END])
    builder.add_edge("tools", "planner")
    return builder.compile()


def circular(model: Any) -> Any:
    """Its edges do not know the calls of the client, and lead back to the planner."""
    return planner(model, router=tools_condition)


def agent(model: Any) -> Any:
    asks = HumanInTheLoopMiddleware(interrupt_on={"send": True})
    return create_agent(model, [look, send], middleware=[ClientToolsMiddleware(), asks])


Make = Callable[[Any], Any]

GRAPHS = pytest.mark.parametrize("make", [planner, circular, agent])
ADDRESSES = pytest.mark.parametrize("path", [OPENAI, DATABRICKS])


class Talk:
    """A client of one graph whose model says what the test has written."""

    def __init__(self, http: AgentClient, model: ScriptedChatModel, path: str) -> None:
        self.http, self.model, self.path = http, model, path

    async def ask(self, content: Any, **fields: Any) -> dict[str, Any]:
        body = {"model": "a", "input": content, "tools": TOOLS} | fields
        return await self.http.ask({k: v for k, v in body.items() if v is not None}, path=self.path)

    async def events(self, content: Any, **fields: Any) -> list[dict[str, Any]]:
        body = {"model": "a", "input": content, "tools": TOOLS} | fields
        return [one async for one in self.http.stream(body, path=self.path)]

    async def refused(self, content: Any, **fields: Any) -> tuple[int, str, str]:
        with pytest.raises(RequestRefused) as caught:
            await self.ask(content, **fields)
        error = caught.value.body["error"]
        return caught.value.status, error["param"], error["message"]

    @property
    def heard(self) -> list[tuple[str, str]]:
        """The conversation as the model saw it last, without the prompt."""
        return [(one.type, one.text) for one in self.model.requests[-1].messages if one.type != "system"]


@asynccontextmanager
async def talking(make: Make, *replies: Any, path: str = OPENAI, **settings: Any) -> AsyncIterator[Talk]:
    model = ScriptedChatModel(*replies)
    app = create_app(Settings(tracing="off", store="memory", **settings), {"a": make(model)}, environ={})
    async with AgentClient(app) as http:
        yield Talk(http, model, path)


def kinds(response: dict[str, Any]) -> list[str]:
    return [item["type"] for item in response["output"]]


def calls_of(response: dict[str, Any]) -> dict[str, Any]:
    """The calls that the client has to answer, by their ids."""
    answered = {item["call_id"] for item in response["output"] if item["type"] == "function_call_output"}
    calls = (item for item in response["output"] if item["type"] in ("function_call", "custom_tool_call"))
    return {item["call_id"]: item for item in calls if item["call_id"] not in answered}


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


def results(*call_ids: str, kind: str = "function_call_output") -> list[dict[str, Any]]:
    return [{"type": kind, "call_id": call_id, "output": f"result of {call_id}"} for call_id in call_ids]


def approved(response: dict[str, Any]) -> list[dict[str, Any]]:
    asked = [item for item in response["output"] if item["type"] == "mcp_approval_request"]
    return [{"type": "mcp_approval_response", "approval_request_id": item["id"], "approve": True} for item in asked]


# -- a call and its result ------------------------------------------------------------------------------------------


@GRAPHS
@ADDRESSES
@pytest.mark.parametrize("way", ["stored", "recognized", "without ids", "not stored"])
async def test_a_call_ends_the_turn_and_its_result_continues_it(make: Make, path: str, way: str) -> None:
    async with talking(make, ["Let me see.", ROME], "Sunny.", path=path) as talk:
        stored = {"store": False} if way == "not stored" else {}
        first = await talk.ask("Rome?", **stored)

        assert kinds(first) == ["message", "function_call"]
        assert first["status"] == "completed"
        assert first["output"][0]["phase"] == "commentary"
        call = first["output"][1]
        assert (call["call_id"], call["name"], json.loads(call["arguments"])) == ("c1", "weather", {"city": "Rome"})

        if way == "stored":
            second = await talk.ask(results("c1"), previous_response_id=first["id"])
        else:
            output = first["output"]
            if way == "without ids":
                output = [{k: v for k, v in item.items() if k != "id"} for item in output]
            second = await talk.ask([{"role": "user", "content": "Rome?"}, *output, *results("c1")], **stored)
        assert text_of(second) == "Sunny."
        assert talk.heard == [("human", "Rome?"), ("ai", "Let me see."), ("tool", "result of c1")]


@GRAPHS
@ADDRESSES
@pytest.mark.parametrize("stored", [True, False])
async def test_calls_of_the_client_and_of_the_graph_go_together(make: Make, path: str, stored: bool) -> None:
    async with talking(make, [ROME, LOOK, FIND], "All done.", path=path) as talk:
        first = await talk.ask("Go.", store=stored)

        assert set(calls_of(first)) == {"c1", "c3"}
        served = [item for item in first["output"] if item["type"] in ("mcp_call", "function_call_output")]
        assert [item["output"] for item in served] == ["saw it"]
        assert len(talk.model.requests) == 1

        outputs = results("c1", "c3")
        if stored:
            second = await talk.ask(outputs, previous_response_id=first["id"])
        else:
            second = await talk.ask([{"role": "user", "content": "Go."}, *first["output"], *outputs], store=False)
        assert text_of(second) == "All done."
        assert sorted(talk.heard[2:]) == [("tool", "result of c1"), ("tool", "result of c3"), ("tool", "saw it")]


@ADDRESSES
async def test_arguments_stream_as_the_model_writes_them(path: str) -> None:
    pieces = ['{"ci', 'ty": ', '"Rome"}']
    async with talking(planner, ["Hm.", Call("weather", pieces, id="c1")], path=path) as talk:
        events = await talk.events("Rome?")

    delta = "response.function_call_arguments.delta"
    assert [one["delta"] for one in events if one["type"] == delta] == pieces
    told = [one["type"].removeprefix("response.") for one in events]
    assert told[-8:-1] == [
        "output_item.done",
        "output_item.added",
        *["function_call_arguments.delta"] * 3,
        "function_call_arguments.done",
        "output_item.done",
    ]
    [done] = [one for one in events if one["type"] == "response.function_call_arguments.done"]
    assert (done["name"], done["arguments"]) == ("weather", "".join(pieces))


async def test_broken_arguments_reach_the_client_as_the_model_wrote_them() -> None:
    async with talking(planner, [Call("weather", '{"city": "Ro', id="c1")], "Sorry.") as talk:
        first = await talk.ask("Rome?")
        assert calls_of(first)["c1"]["arguments"] == '{"city": "Ro'
        second = await talk.ask(results("c1"), previous_response_id=first["id"])
        assert text_of(second) == "Sorry."


@ADDRESSES
async def test_a_call_at_which_the_model_was_cut_off_is_incomplete(path: str) -> None:
    async with talking(planner, [Call("weather", '{"city": "Ro', id="c1"), Finish("length")], path=path) as talk:
        response = await talk.ask("Rome?")
        assert response["status"] == "incomplete"
        [call] = [one for one in response["output"] if one["type"] == "function_call"]
        assert (call["status"], call["arguments"]) == ("incomplete", '{"city": "Ro')


async def test_a_call_that_no_node_returns_is_left_out() -> None:
    def retrying(model: Any) -> Any:
        async def plan(state: AgentState, runtime: Runtime[AgentContext]) -> dict[str, Any]:
            bound = model.bind_tools(runtime.context.tools)
            await bound.ainvoke(state["messages"])
            return {"messages": [await bound.ainvoke(state["messages"])]}

        builder = StateGraph(AgentState, context_schema=AgentContext)
        builder.add_node("plan", takes_client_tools(plan))
        return builder.add_edge(START, "plan").add_edge("plan", END).compile()

    async with talking(retrying, [ROME], [FIND]) as talk:
        events = await talk.events("Go.")
        closed = [one["item"] for one in events if one["type"] == "response.output_item.done"]
        assert [(item["call_id"], item["status"]) for item in closed] == [("c3", "completed"), ("c1", "incomplete")]
        assert set(calls_of(events[-1]["response"])) == {"c3"}


async def test_a_custom_tool_gets_one_string() -> None:
    async with talking(planner, [Call("sql", {"input": "select 1"}, id="c1")], "One.") as talk:
        events = await talk.events("Count.")
        [call] = events[-1]["response"]["output"]
        assert (call["type"], call["name"], call["input"]) == ("custom_tool_call", "sql", "select 1")
        told = [one for one in events if one["type"].startswith("response.custom_tool_call_input")]
        assert [one.get("delta") or one.get("input") for one in told] == ["select 1", "select 1"]

        history = [{"role": "user", "content": "Count."}, call, *results("c1", kind="custom_tool_call_output")]
        assert text_of(await talk.ask(history, store=False)) == "One."
        assert talk.model.requests[-1].messages[-2].tool_calls[0]["args"] == {"input": "select 1"}


async def test_a_namespace_is_flattened_for_the_model_and_restored_for_the_client() -> None:
    async with talking(planner, [FIND], "Found.") as talk:
        first = await talk.ask("Bob?")
        assert talk.model.requests[0].tool_names == ["look", "send", "weather", "sql", "crm__find"]
        call = calls_of(first)["c3"]
        assert (call["namespace"], call["name"]) == ("crm", "find")

        await talk.ask([{"role": "user", "content": "Bob?"}, call, *results("c3")], store=False)
        assert talk.model.requests[-1].messages[-2].tool_calls[0]["name"] == "crm__find"


async def test_a_secret_in_the_arguments_does_not_reach_the_client() -> None:
    key = "sk-proj-" + "a1B2" * 12
    async with talking(planner, [Call("weather", ['{"city": "', key[:20], key[20:], '"}'], id="c1")]) as talk:
        events = await talk.events("Rome?")
        assert key not in "".join(one.get("delta", "") for one in events)
        assert key not in json.dumps(events)


# -- several calls, and approvals -----------------------------------------------------------------------------------


@GRAPHS
@ADDRESSES
async def test_the_calls_that_are_not_answered_are_asked_again(make: Make, path: str) -> None:
    async with talking(make, [ROME, LOOK, FIND], "All done.", path=path) as talk:
        first = await talk.ask("Go.")
        second = await talk.ask(results("c1"), previous_response_id=first["id"], tools=None)
        assert calls_of(second).keys() == {"c3"}
        assert kinds(second) == ["function_call"]
        third = await talk.ask(results("c3"), previous_response_id=second["id"])
        assert text_of(third) == "All done."


async def test_a_message_gives_up_the_calls_that_are_not_answered() -> None:
    async with talking(planner, [ROME, FIND], "Fine.") as talk:
        first = await talk.ask("Go.")
        said = [*results("c1"), {"role": "user", "content": "Never mind."}]
        second = await talk.ask(said, previous_response_id=first["id"])
        assert text_of(second) == "Fine."
        assert [kind for kind, _ in talk.heard] == ["human", "ai", "tool", "tool", "human"]


@pytest.mark.parametrize("make", [planner, agent])
@ADDRESSES
@pytest.mark.parametrize("order", ["approval first", "results first", "together", "resent"])
async def test_an_approval_and_calls_of_the_client_are_answered_in_any_order(make: Make, path: str, order: str) -> None:
    async with talking(make, [ROME, SEND, FIND], "All done.", path=path) as talk:
        first = await talk.ask("Go.")
        assert calls_of(first).keys() == {"c1", "c3"}
        decided, outputs = approved(first), results("c1", "c3")
        assert len(decided) == 1

        if order == "approval first":
            second = await talk.ask(decided, previous_response_id=first["id"], tools=None)
            assert calls_of(second).keys() == {"c1", "c3"}
            last = await talk.ask(outputs, previous_response_id=second["id"])
        elif order == "results first":
            second = await talk.ask(outputs, previous_response_id=first["id"])
            assert kinds(second) == ["mcp_approval_request"]
            last = await talk.ask(decided, previous_response_id=second["id"])
        elif order == "together":
            last = await talk.ask([*outputs, *decided], previous_response_id=first["id"])
        else:
            history = [{"role": "user", "content": "Go."}, *first["output"], *outputs[:1], *decided]
            second = await talk.ask(history)
            assert calls_of(second).keys() == {"c3"}
            last = await talk.ask([*history, *second["output"], *outputs[1:]])

        assert text_of(last) == "All done."
        assert len(talk.model.requests) == 2
        results_seen = [text for kind, text in talk.heard if kind == "tool"]
        assert sorted(results_seen) == ["result of c1", "result of c3", "sent to ann"]


@ADDRESSES
@pytest.mark.parametrize("ids", [True, False])
async def test_a_resent_history_in_which_a_call_was_asked_again_is_recognized(path: str, ids: bool) -> None:
    def resent(*items: Any) -> list[Any]:
        # A call that the service ran has no other id.
        keeps = [ids or item["type"] == "mcp_call" for item in items]
        return [item if kept else {**item, "id": None} for item, kept in zip(items, keeps, strict=True)]

    async with talking(planner, ["Hm.", ROME, LOOK, FIND], "All done.", path=path) as talk:
        first = await talk.ask("Go.")
        history = [{"role": "user", "content": "Go."}, *resent(*first["output"]), *results("c1")]
        second = await talk.ask(history)
        assert calls_of(second).keys() == {"c3"}
        third = await talk.ask([*history, *resent(*second["output"]), *results("c3")])
        assert text_of(third) == "All done."
        assert sorted(talk.heard) == [
            ("ai", "Hm."),
            ("human", "Go."),
            *[("tool", text) for text in ("result of c1", "result of c3", "saw it")],
        ]


@ADDRESSES
async def test_a_message_beside_an_approval_gives_up_the_calls_that_come_only_then(path: str) -> None:
    async with talking(planner, [SEND], [ROME], "Fine.", "Late.", path=path) as talk:
        first = await talk.ask("Go.")
        said = [*approved(first), {"role": "user", "content": "And then?"}]
        second = await talk.ask(said, previous_response_id=first["id"])
        assert text_of(second) == "Fine."
        assert calls_of(second) == {}
        assert [kind for kind, _ in talk.heard] == ["human", "ai", "tool", "ai", "tool", "human"]
        late = await talk.ask(results("c1"), previous_response_id=second["id"])
        assert text_of(late) == "Late."


# -- how the model may choose ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [planner, agent])
@pytest.mark.parametrize(
    ("choice", "bound", "offered"),
    [
        ("auto", None, 5),
        ("required", "required", 5),
        ({"type": "function", "name": "weather"}, "weather", 5),
        ({"type": "custom", "name": "sql"}, "sql", 5),
        ({"type": "function", "name": "find", "namespace": "crm"}, "crm__find", 5),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}, None, 3),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "sql"}]}, "required", 3),
        ("none", None, 0),
    ],
)
async def test_the_choice_reaches_the_model_in_its_first_step(
    make: Make, choice: Any, bound: str | None, offered: int
) -> None:
    script = ["Done."] if choice == "none" else [[LOOK], "Done."]
    async with talking(make, *script) as talk:
        response = await talk.ask("Go.", tool_choice=choice)
        assert text_of(response) == "Done."
        assert response["tool_choice"] == choice
        first, *others = talk.model.requests
        assert (first.options.get("tool_choice"), len(first.tools)) == (bound, offered)
        assert all(one.options.get("tool_choice") is None for one in others)


async def test_the_tools_reach_the_model_as_they_were_declared() -> None:
    async with talking(planner, "Done.") as talk:
        response = await talk.ask("Go.")
        [bound] = [one["function"] for one in talk.model.requests[0].tools if one["function"]["name"] == "weather"]
        assert bound == {key: WEATHER[key] for key in ("name", "description", "parameters", "strict")}
        assert response["tools"] == TOOLS


@pytest.mark.parametrize("make", [planner, agent])
async def test_a_client_that_takes_one_call_at_a_time_gets_one(make: Make) -> None:
    async with talking(make, [ROME, FIND], "Done.") as talk:
        events = await talk.events("Go.", parallel_tool_calls=False)
        first = events[-1]["response"]
        assert calls_of(first).keys() == {"c1"}
        assert sum(one["type"] == "response.output_item.added" for one in events) == 1
        second = await talk.ask(results("c1"), previous_response_id=first["id"])
        assert text_of(second) == "Done."


# -- what is left out or refused ------------------------------------------------------------------------------------


async def test_a_hosted_tool_is_left_out_with_a_warning() -> None:
    async with talking(planner, "Done.", "Done.") as talk:
        declared = [*TOOLS, {"type": "web_search"}, {"type": "tool_search"}]
        answer = await talk.http.post(OPENAI, json={"model": "a", "input": "Go.", "tools": declared})
        warnings = answer.json()["custom_outputs"]["warnings"]
        assert [one.split()[2] for one in warnings] == ["web_search", "tool_search"]
        assert answer.headers["x-graph-agent-warnings"] == "; ".join(warnings)
        streamed = talk.http.stream({"model": "a", "input": "Go.", "tools": declared}, path=OPENAI)
        assert [one async for one in streamed][-1]["response"]["custom_outputs"]["warnings"] == warnings
        assert streamed.headers["x-graph-agent-warnings"] == "; ".join(warnings)


@pytest.mark.parametrize("make", [planner, agent])
async def test_a_name_that_the_graph_has_too_is_refused(make: Make) -> None:
    async with talking(make, "Done.") as talk:
        status, param, message = await talk.refused("Go.", tools=[{"type": "function", "name": "look"}])
        assert (status, param) == (400, "tools")
        assert "look" in message


@pytest.mark.parametrize("background", [True, False])
async def test_a_graph_that_takes_no_tools_says_how_it_could(background: bool) -> None:
    async with talking(lambda model: create_agent(model, [look]), "Done.") as talk:
        status, param, message = await talk.refused("Go.", background=background)
        assert (status, param) == (400, "tools")
        assert "ClientToolsMiddleware" in message
        assert (await talk.refused("Go.", tools=None, tool_choice="none"))[:2] == (400, "tool_choice")
        assert text_of(await talk.ask("Go.", tools=[{"type": "web_search"}])) == "Done."


@pytest.mark.parametrize("background", [True, False])
async def test_with_the_setting_a_graph_that_takes_no_tools_answers_without_them_and_says_so(background: bool) -> None:
    async with talking(lambda model: create_agent(model, [look]), "Done.", client_tools="ignore") as talk:
        # A name of the graph's own is no harm, because nobody calls it.
        declared = [*TOOLS, {"type": "function", "name": "look"}]
        body = {"model": "a", "input": "Go.", "tools": declared, "background": background}
        answer = await talk.http.post(OPENAI, json=body)
        [warning] = answer.headers["x-graph-agent-warnings"].split("; ")
        assert warning.startswith("`tools` was left out")
        assert warning.endswith(": weather, sql, crm__find, look.")
        told = await talk.http.get(f"{OPENAI}/{answer.json()['id']}?stream=true")
        response = [json.loads(one[6:]) for one in told.text.splitlines() if one.startswith("data: {")][-1]["response"]
        assert (text_of(response), response["tools"]) == ("Done.", [])
        assert response["custom_outputs"]["warnings"] == [warning]
        assert talk.model.requests[0].tool_names == ["look"]
        for choice in ("none", "required", {"type": "function", "name": "weather"}):
            assert (await talk.refused("Go.", tool_choice=choice))[:2] == (400, "tools")


async def test_with_the_setting_chat_completions_warn_of_ignored_tools_too() -> None:
    functions = [{"type": "function", "function": {"name": f"tool_{n}"}} for n in range(10)]
    body = {"model": "a", "messages": [{"role": "user", "content": "Go."}], "tools": functions}
    async with talking(lambda model: create_agent(model, [look]), "Done.", client_tools="ignore") as talk:
        answer = await talk.http.post("/v1/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "Done."
        assert answer.headers["x-graph-agent-warnings"].endswith(", tool_7 and 2 more.")


async def test_with_the_setting_a_graph_that_takes_tools_still_gets_them() -> None:
    async with talking(planner, [ROME], client_tools="ignore") as talk:
        assert calls_of(await talk.ask("Rome?")).keys() == {"c1"}


# -- graphs of one's own --------------------------------------------------------------------------------------------


async def test_a_node_of_ones_own_binds_what_the_context_has() -> None:
    def own(model: Any) -> Any:
        async def plan(state: AgentState, runtime: Runtime[AgentContext]) -> dict[str, Any]:
            assert (runtime.context.tool_choice, runtime.context.parallel_tool_calls) == ("required", False)
            return {"messages": [await model.bind_tools(runtime.context.tools).ainvoke(state["messages"])]}

        builder = StateGraph(AgentState, context_schema=AgentContext)
        builder.add_node("plan", takes_client_tools(plan))
        return builder.add_edge(START, "plan").add_edge("plan", END).compile()

    async with talking(own, [ROME], "Sunny.") as talk:
        more: dict[str, Any] = {"tool_choice": "required", "parallel_tool_calls": False}
        first = await talk.ask("Rome?", **more)
        assert calls_of(first).keys() == {"c1"}
        second = await talk.ask(results("c1"), previous_response_id=first["id"], **more)
        assert text_of(second) == "Sunny."


async def test_a_graph_within_the_graph_ends_the_turn_of_both() -> None:
    def outer(model: Any) -> Any:
        builder = StateGraph(AgentState, context_schema=AgentContext)
        builder.add_node("inner", planner(model))
        return builder.add_edge(START, "inner").add_edge("inner", END).compile()

    async with talking(outer, [ROME, LOOK], "Sunny.") as talk:
        first = await talk.ask("Rome?")
        assert calls_of(first).keys() == {"c1"}
        second = await talk.ask(results("c1"), previous_response_id=first["id"])
        assert text_of(second) == "Sunny."


MANY = [{"type": "function", "name": f"f{n}"} for n in range(256)]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "namespace", "name": "a", "tools": MANY}]}, "tools"),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [*MANY, MANY[0]]}, "tools": MANY},
            "tool_choice.tools",
        ),
    ],
)
async def test_the_number_of_tools_is_bounded_wherever_they_stand(fields: dict[str, Any], param: str) -> None:
    async with talking(planner, "Yes.") as talk:
        status, named, message = await talk.refused("Hi.", **fields)
    assert (status, named) == (400, param)
    assert "more than 256" in message


@GRAPHS
@ADDRESSES
async def test_a_result_that_comes_again_reaches_the_model_once(make: Make, path: str) -> None:
    async with talking(make, [ROME, FIND], "Sunny.", "Bye.", path=path) as talk:
        first = await talk.ask("Rome?")
        place = {"context": {"conversation_id": first["custom_outputs"]["thread_id"]}}
        rome = {"type": "function_call_output", "call_id": "c1", "output": "sun"}
        bob = {"type": "function_call_output", "call_id": "c3", "output": "bob"}
        await talk.ask([rome], **place)
        # It sends again what it has, and then only that.
        await talk.ask([rome, bob], **place)
        assert await talk.refused([bob], **place) == (400, "input", ANY)
        await talk.ask([bob, {"role": "user", "content": "Bye"}], **place)
        ids = [call["id"] for one in talk.model.requests[-1].messages for call in getattr(one, "tool_calls", ())]
    assert ids == ["c1", "c3"]
    assert [words for kind, words in talk.heard if kind == "tool"] == ["sun", "bob"]

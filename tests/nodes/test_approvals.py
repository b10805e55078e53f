"""Tools that ask a person first, in a graph with a checkpointer."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from graph_agent import AgentState, ConfigurationError, GraphFailed, make_tools

pytestmark = pytest.mark.anyio

CONFIG: Any = {"configurable": {"thread_id": "1"}}


class Desk:
    """A graph of one tools node, and what its tools did."""

    def __init__(self, *calls: str, approve: Any) -> None:
        self.done: list[str] = []

        @tool
        def send(to: str) -> str:
            """Send a mail."""
            self.done.append(f"send {to}")
            return f"sent to {to}"

        @tool
        def look(to: str) -> str:
            """Look something up."""
            self.done.append(f"look {to}")
            return f"saw {to}"

        @tool
        def confirm(to: str) -> str:
            """Ask within the tool."""
            return f"{to}: {interrupt('Sure?')}"

        tools = make_tools([send, look, confirm], approve=approve)
        self._calls = [
            {"id": f"c{n}", "name": call.split()[0], "args": {"to": call.split()[1]}} for n, call in enumerate(calls)
        ]
        builder = StateGraph(AgentState)
        builder.add_node("tools", tools)
        builder.add_edge(START, "tools")
        self._graph = builder.compile(checkpointer=InMemorySaver())

    async def ask(self) -> Any:
        """What the graph waits for, or its messages."""
        return self._told(await self._graph.ainvoke({"messages": [AIMessage("", tool_calls=self._calls)]}, CONFIG))

    async def answer(self, value: Any) -> Any:
        """The messages of the graph after it was resumed with this."""
        return self._told(await self._graph.ainvoke(Command(resume=value), CONFIG))

    def _told(self, state: Any) -> Any:
        if "__interrupt__" in state:
            return [one.value for one in state["__interrupt__"]]
        return [one for one in state["messages"] if isinstance(one, ToolMessage)]


def deciding(*decisions: Any) -> dict[str, Any]:
    return {"decisions": [one if isinstance(one, dict) else {"type": one} for one in decisions]}


async def test_all_calls_of_a_turn_are_asked_about_at_once_and_none_runs_before() -> None:
    desk = Desk("send ann", "look bob", "send eve", approve=["send"])
    [asked] = await desk.ask()
    assert [(one["name"], one["args"]["to"]) for one in asked["action_requests"]] == [("send", "ann"), ("send", "eve")]
    assert [one["action_name"] for one in asked["review_configs"]] == ["send", "send"]
    assert asked["review_configs"][0]["allowed_decisions"] == ["approve", "edit", "reject", "respond"]
    assert asked["action_requests"][0]["description"] == "Send a mail."
    schema = asked["review_configs"][0]["args_schema"]
    assert (schema["properties"], schema["required"]) == ({"to": {"type": "string"}}, ["to"])
    assert desk.done == []


async def test_each_call_gets_its_own_decision() -> None:
    desk = Desk("send ann", "look bob", "send eve", "send joe", "send kim", approve=["send"])
    await desk.ask()
    edit = {"type": "edit", "edited_action": {"name": "look", "args": {"to": "zoe"}}}
    told = await desk.answer(
        deciding("approve", {"type": "reject", "message": "not her"}, edit, {"type": "respond", "message": "later"})
    )
    assert [one.text for one in told] == [
        "sent to ann",
        "saw bob",
        "The user rejected this call of send and said: not her. It was not made. Do not make it again unless the user "
        "asks.",
        'The user changed the arguments of this call before it was made. It was made with {"to": "zoe"}.\n\n'
        "sent to zoe",
        "later",
    ]
    assert [one.status for one in told] == ["success", "success", "error", "success", "success"]
    assert [one.tool_call_id for one in told] == ["c0", "c1", "c2", "c3", "c4"]
    assert sorted(desk.done) == ["look bob", "send ann", "send zoe"]


async def test_a_function_decides_which_calls_need_approval() -> None:
    desk = Desk("send ann", "send eve", approve=lambda call: call["args"]["to"] == "eve")
    [asked] = await desk.ask()
    assert [one["args"] for one in asked["action_requests"]] == [{"to": "eve"}]
    assert [one.text for one in await desk.answer(deciding("approve"))] == ["sent to ann", "sent to eve"]


async def test_calls_that_need_no_approval_run_at_once() -> None:
    desk = Desk("look bob", approve=["send"])
    assert [one.text for one in await desk.ask()] == ["saw bob"]


async def test_a_tool_that_asks_itself_has_not_failed() -> None:
    desk = Desk("confirm it", approve=())
    assert await desk.ask() == ["Sure?"]
    assert [one.text for one in await desk.answer("yes")] == ["it: yes"]


@pytest.mark.parametrize(
    "value",
    [
        True,
        "approve",
        {"decisions": []},
        {"decisions": [{"type": "approve"}] * 2},
        {"decisions": [{"type": "delete"}]},
        {"decisions": [{"type": "edit", "edited_action": {"name": "send"}}]},
        {"decisions": [{"type": "respond"}]},
    ],
)
async def test_anything_else_than_a_decision_for_each_call_is_refused(value: Any) -> None:
    desk = Desk("send ann", approve=["send"])
    await desk.ask()
    with pytest.raises(GraphFailed, match="1 decisions"):
        await desk.answer(value)
    assert desk.done == []


def test_a_misspelled_name_is_an_error_when_the_graph_is_made() -> None:
    with pytest.raises(ConfigurationError, match="not among the tools: sned"):
        Desk(approve=["sned"])
    with pytest.raises(ConfigurationError, match="several names"):
        Desk(approve="send")

"""Tool sources among the tools of the planner and the tools node."""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, StateGraph
from tests.nodes.test_nodes import calls

from graph_agent import AgentState, make_planner, make_tools
from graph_agent.contract import ListedTools
from graph_agent.errors import ToolFailed
from graph_agent.nodes.planner import requested_nodes
from graph_agent.nodes.tool_errors import FAULT
from graph_agent.testing import ScriptedChatModel

pytestmark = pytest.mark.anyio


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool("add")
def other_add(a: int, b: int) -> int:
    """Add, of another server."""
    return -1


@tool
def unreachable(x: int) -> int:
    """Its server does not answer."""
    raise ToolFailed("weather gave no answer: it cannot be reached")


class Source:
    """Has the tools it is told to have, and misses what it is told to miss."""

    def __init__(self, *found: BaseTool, warnings: Sequence[str] = (), error: Exception | None = None) -> None:
        self.found = found
        self.warnings = warnings
        self.error = error

    async def tools(self) -> ListedTools:
        if self.error is not None:
            raise self.error
        return ListedTools(self.found, self.warnings)


async def run(model: ScriptedChatModel, *tools: Any, before: dict[str, Any] | None = None) -> dict[str, Any]:
    builder = StateGraph(AgentState)
    builder.add_node("planner", make_planner(model=model, tools=tools, prompt="Be brief.", require_tool_first=True))
    builder.add_node("tools", make_tools(tools))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes(retrieval="none"))
    builder.add_edge("tools", "planner")
    state = {"messages": [HumanMessage("question")], "custom_outputs": before or {}}
    return dict(await builder.compile().ainvoke(state))


async def test_a_tool_of_a_source_is_found_and_a_second_one_of_its_name_is_left_out_with_a_warning() -> None:
    model = ScriptedChatModel(calls(("c1", "add", {"a": 2, "b": 3})), "5")
    state = await run(model, Source(add), Source(other_add))
    assert [m.content for m in state["messages"] if isinstance(m, ToolMessage)] == ["5"]
    warning = "One of two tools named add was left out: give its server another name."
    assert state["custom_outputs"]["warnings"] == [warning]
    assert model.requests[0].messages[0].content == f"Be brief.\n\n{warning}"


async def test_warnings_of_an_earlier_turn_do_not_outlive_it() -> None:
    state = await run(ScriptedChatModel("Hello."), Source(add), before={"warnings": ["The tools of x …"]})
    assert state["custom_outputs"]["warnings"] == []
    state = await run(ScriptedChatModel("Hello."), Source(add))
    assert "warnings" not in state["custom_outputs"]


async def test_a_strangers_source_that_raises_costs_its_tools_and_none_of_its_text() -> None:
    model = ScriptedChatModel("Hello.")
    state = await run(model, Source(error=ValueError("postgres://u:hunter2@db")))
    assert state["messages"][-1].content == "Hello."
    assert state["custom_outputs"]["warnings"] == ["Some tools are not available now (ValueError)."]


async def test_a_missing_tool_is_explained_by_what_its_source_misses() -> None:
    model = ScriptedChatModel(calls(("c1", "forecast", {})), "Sorry.")
    missing = "The tools of weather are not available now: it failed (500)."
    state = await run(model, add, Source(warnings=[missing]))
    (told,) = [m for m in state["messages"] if isinstance(m, ToolMessage)]
    assert told.content == f"There is no tool named 'forecast'; there are: add. {missing}\n{FAULT}"


async def test_a_tool_whose_server_fails_tells_so_to_the_model_and_the_caller() -> None:
    model = ScriptedChatModel(calls(("c1", "unreachable", {"x": 1})), "Sorry.")
    state = await run(model, Source(unreachable))
    (told,) = [m for m in state["messages"] if isinstance(m, ToolMessage)]
    assert (told.status, told.content) == (
        "error",
        f"unreachable: weather gave no answer: it cannot be reached\n{FAULT}",
    )
    assert told.additional_kwargs["public_error"] == "unreachable: weather gave no answer: it cannot be reached"

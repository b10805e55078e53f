"""Ids of tool calls are a provider's: they may come again, or not at all, and call and result still belong together."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from tests.graphs.scripted import says
from tests.runs.running import Graph, asking, chain, events_of, speaking
from tests.wire import phases

from graph_agent import Handoff, hand_back, make_agent, make_planner, make_supervisor, make_tools, route_handoffs
from graph_agent.protocol.dialects import OPENAI, RESPONSES
from graph_agent.protocol.messages import to_messages
from graph_agent.settings import Budgets
from graph_agent.testing import Call

pytestmark = pytest.mark.anyio


@tool
async def look(city: str) -> str:
    """Look a city up; Rome takes longer."""
    if city == "Rome":
        await asyncio.sleep(0.05)
    return f"facts on {city}"


def rome(id: str) -> Call:
    return Call("look", '{"city": "Rome"}', id)


def oslo(id: str) -> Call:
    return Call("look", '{"city": "Oslo"}', id)


TURNS: dict[str, Sequence[Any]] = {
    "a later step": ([rome("call_0")], [oslo("call_0")], ["Done."]),
    "a later step, the same": ([rome("call_0")], [rome("call_0")], ["Done."]),
    "at once": ([rome("look"), oslo("look")], ["Done."]),
    "at once, the same": ([rome("x"), rome("x")], ["Done."]),
    "empty, at once": ([rome(""), oslo("")], ["Done."]),
    "empty, later": ([rome("")], [oslo("")], ["Done."]),
    "mixed": ([rome("a"), oslo("")], [oslo("a")], ["Done."]),
}


def pairs(output: Sequence[Any]) -> list[tuple[str, str]]:
    """Each call's city, and the result under its id."""
    results = {item["call_id"]: item["output"] for item in output if item["type"] == "function_call_output"}
    calls = [item for item in output if item["type"] == "function_call"]
    assert len({call["call_id"] for call in calls}) == len(calls) == len(results)
    assert all(call["call_id"] for call in calls)
    return [(call["arguments"], results[call["call_id"]]) for call in calls]


def cities(turns: Sequence[Any]) -> list[tuple[str, str]]:
    calls = [one for turn in turns for one in turn if isinstance(one, Call)]
    return [(one.args, "facts on Rome" if "Rome" in one.args else "facts on Oslo") for one in calls]


@pytest.mark.parametrize("kind", TURNS)
async def test_every_call_has_its_own_result_under_an_id_of_its_own(kind: str) -> None:
    turns = TURNS[kind]
    events = await events_of(create_agent(says(*turns), [look]))
    output = events[-1]["response"]["output"]
    assert sorted(pairs(output)) == sorted(cities(turns))
    assert phases(events[-1]["response"]) == [("Done.", "final_answer")]


@pytest.mark.parametrize("kind", TURNS)
async def test_the_same_holds_where_call_and_result_are_one_item(kind: str) -> None:
    turns = TURNS[kind]
    events = await events_of(create_agent(says(*turns), [look]), dialect=OPENAI)
    calls = [item for item in events[-1]["response"]["output"] if item["type"] == "mcp_call"]
    assert sorted((item["arguments"], item["output"]) for item in calls) == sorted(cities(turns))


@pytest.mark.parametrize("kind", TURNS)
async def test_what_was_told_can_be_resent_and_the_same_id_come_again(kind: str) -> None:
    turns = TURNS[kind]
    graph = create_agent(says(*turns), [look])
    first = (await events_of(graph))[-1]["response"]["output"]
    history = [{"role": "user", "content": "First?"}, *first]
    asked = [one for one in to_messages(history) if isinstance(one, AIMessage) and one.tool_calls]
    assert sum(len(one.tool_calls) for one in asked) == len(cities(turns))
    again = (await events_of(graph, invocation=asking("Again?", history=history)))[-1]["response"]["output"]
    assert sorted(pairs(again)) == sorted(cities(turns))
    told = {item["call_id"] for item in first if item["type"] == "function_call"}
    assert told.isdisjoint(item["call_id"] for item in again if item["type"] == "function_call")


def side_by_side() -> Graph:
    builder = StateGraph(MessagesState)
    for name, call in (("left", rome("call_0")), ("right", oslo("call_0"))):
        builder.add_node(name, create_agent(says([call], [name]), [look]))
        builder.add_edge(START, name)
    builder.add_node("join", speaking(says([""], [""], [""], [""], ["Done."]), "join"))
    builder.add_edge(["left", "right"], "join")
    return builder.compile()


async def test_subgraphs_that_work_at_once_may_use_the_same_ids() -> None:
    events = await events_of(side_by_side())
    assert sorted(pairs(events[-1]["response"]["output"])) == [
        ('{"city": "Oslo"}', "facts on Oslo"),
        ('{"city": "Rome"}', "facts on Rome"),
    ]


async def test_an_id_of_the_providers_that_clashes_with_none_is_kept() -> None:
    events = await events_of(create_agent(says([rome("toolu_01")], ["Done."]), [look]))
    assert [item["call_id"] for item in events[-1]["response"]["output"][:2]] == ["toolu_01", "toolu_01"]


async def test_a_call_that_is_edited_before_it_runs_is_one_call() -> None:
    def edit(state: MessagesState) -> dict[str, Any]:
        said = state["messages"][-1]
        call = {**said.tool_calls[0], "args": {"city": "Oslo"}}
        return {"messages": [said.model_copy(update={"tool_calls": [call]})]}

    async def work(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await look.ainvoke(state["messages"][-1].tool_calls[0])]}

    graph = chain(speaking(says([rome("c")]), "ask"), edit, work, speaking(says([""], ["Done."]), "answer"))
    (call, *_) = (await events_of(graph, dialect=OPENAI))[-1]["response"]["output"]
    assert (call["type"], call["arguments"], call["output"]) == ("mcp_call", '{"city": "Oslo"}', "facts on Oslo")
    output = (await events_of(graph, dialect=RESPONSES))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["function_call", "function_call_output", "message"]


# -- our own nodes keep ids apart in the state too --------------------------------------------------------------------


async def test_the_planner_gives_a_call_an_id_that_no_other_has() -> None:
    builder = StateGraph(MessagesState)
    model = says([rome("call_0")], [oslo("call_0"), oslo("")], ["Done."])
    builder.add_node("planner", make_planner(model=model, tools=[look], prompt="Plan."))
    builder.add_node("tools", make_tools([look]))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    builder.add_edge("tools", "planner")
    state = await builder.compile().ainvoke({"messages": [("user", "?")]})
    ids = [call["id"] for one in state["messages"] if isinstance(one, AIMessage) for call in one.tool_calls]
    assert len(set(ids)) == 3
    assert "" not in ids


async def test_a_supervisor_whose_model_counts_from_zero_in_every_answer_hands_off_twice() -> None:
    def agent(text: str) -> Graph:
        return chain(speaking(says(*[[text]] * 9), "work"))

    model = says(
        [Call("transfer_to_left", '{"task": "a", "hand_back": true}', "call_0")],
        [Call("transfer_to_right", '{"task": "b", "hand_back": true}', "call_0")],
        ["Both did it."],
    )
    agents = [Handoff(to="left", description="l", example="a"), Handoff(to="right", description="r", example="b")]
    builder = StateGraph(MessagesState)
    builder.add_node("supervisor", make_supervisor(model=model, agents=agents, prompt="Lead."))
    for name in ("left", "right"):
        builder.add_node(name, make_agent(name, agent(f"{name} did it.")))
        builder.add_conditional_edges(name, hand_back, ["supervisor", END])
    builder.add_edge(START, "supervisor")
    builder.add_conditional_edges("supervisor", route_handoffs, ["supervisor", "left", "right", END])
    events = await events_of(builder.compile(), budgets=Budgets(steps=12, seconds=30))
    output = events[-1]["response"]["output"]
    results = [item["output"] for item in output if item["type"] == "function_call_output"]
    assert results == ["left did it.", "right did it."]
    assert phases(events[-1]["response"]) == [("Both did it.", "final_answer")]

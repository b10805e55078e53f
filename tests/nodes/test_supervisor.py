"""The supervisor's nodes with agents a stranger wrote, on a scripted model."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from graph_agent import AgentState, Handoff, hand_back, make_agent, make_supervisor, route_handoffs
from graph_agent.errors import (
    ConfigurationError,
    GraphFailed,
    ModelRateLimited,
    ModelTimedOut,
    RetrievalFailed,
    RunCancelled,
    RunError,
    Unauthenticated,
)
from graph_agent.nodes.handoff import before_turn, only_calls
from graph_agent.testing import ScriptedChatModel

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2-planted"


def handing(*tasks: tuple[str, str]) -> AIMessage:
    """Hand-offs: the agent and its task."""
    return AIMessage(
        "",
        tool_calls=[
            {"id": f"call_{agent}_{task}", "name": f"transfer_to_{agent}", "args": {"task": task}}
            for agent, task in tasks
        ],
    )


def team(
    model: ScriptedChatModel,
    *,
    checkpointer: Any = None,
    state: Any = AgentState,
    require_tool_first: bool = False,
    **nodes: Any,
) -> Any:
    """A supervisor of one-node graphs."""
    builder = StateGraph(state)
    agents = [Handoff(to=name, description=name, example="?") for name in nodes]
    supervisor = make_supervisor(model=model, agents=agents, prompt="Lead.", require_tool_first=require_tool_first)
    builder.add_node("supervisor", supervisor)
    builder.add_edge(START, "supervisor")
    builder.add_conditional_edges("supervisor", route_handoffs, ["supervisor", *nodes, END])
    for name, node in nodes.items():
        graph = StateGraph(MessagesState).add_node("work", node).add_edge(START, "work").compile()
        builder.add_node(name, make_agent(name, graph))
        builder.add_conditional_edges(name, hand_back, ["supervisor", END])
    return builder.compile(checkpointer=checkpointer)


def replies(text: str) -> Any:
    return lambda state: {"messages": [("ai", text)]}


def repeats(state: MessagesState) -> Any:
    return {"messages": [AIMessage("/".join(message.text for message in state["messages"]))]}


def told(state: Any) -> list[tuple[str, str]]:
    return [(message.type, message.text) for message in state["messages"]]


QUESTION = {"messages": [HumanMessage("Both?")]}


@pytest.mark.parametrize("state", [AgentState, MessagesState])
async def test_graphs_that_know_nothing_of_this_package_are_agents_too(state: Any) -> None:
    model = ScriptedChatModel(handing(("one", "1"), ("two", "2")), "Both are done.")
    end = await team(model, state=state, one=replies("First."), two=repeats).ainvoke(QUESTION)
    assert told(end) == [
        ("human", "Both?"),
        ("ai", ""),
        ("tool", "First."),
        ("tool", "2"),
        ("ai", "Both are done."),
    ]


async def test_two_hand_offs_to_one_agent_are_one_turn_of_it() -> None:
    model = ScriptedChatModel(handing(("one", "1"), ("one", "2"), ("two", "3")), "Done.")
    end = await team(model, one=repeats, two=replies("Two.")).ainvoke(QUESTION)
    assert told(end)[2:] == [("tool", "1\n2"), ("tool", "1\n2"), ("tool", "Two."), ("ai", "Done.")]


async def test_what_a_stranger_raised_is_told_by_its_type_alone() -> None:
    def fails(state: MessagesState) -> Any:
        raise ValueError(PASSWORD)

    model = ScriptedChatModel(handing(("one", "1"), ("two", "2")), "One is down.")
    end = await team(model, one=fails, two=replies("Two.")).ainvoke(QUESTION)
    assert told(end)[2:] == [
        ("tool", "the agent 'one' failed (ValueError)"),
        ("tool", "Two."),
        ("ai", "One is down."),
    ]


@pytest.mark.parametrize("error", [Unauthenticated("sign in"), RunCancelled("stopped"), GraphRecursionError("steps")])
async def test_what_ends_a_run_is_no_agents_failure(error: Exception) -> None:
    def fails(state: MessagesState) -> Any:
        raise error

    model = ScriptedChatModel(handing(("one", "1"), ("two", "2")), "Done.")
    with pytest.raises(type(error)):
        await team(model, one=fails, two=replies("Two.")).ainvoke(QUESTION)


async def test_agents_that_all_say_nothing_fail_the_run() -> None:
    model = ScriptedChatModel(handing(("one", "1"), ("two", "2")), "I invent an answer.")
    with pytest.raises(GraphFailed, match="the agent gave no answer"):
        await team(model, one=lambda state: {}, two=replies(" ")).ainvoke(QUESTION)


@pytest.mark.parametrize("kind", [ModelRateLimited, ModelTimedOut, RetrievalFailed, RunError])
async def test_when_all_fail_the_run_fails_as_the_kind_of_error_the_first_did(kind: type[RunError]) -> None:
    def fails(state: MessagesState) -> Any:
        raise kind("try later")

    model = ScriptedChatModel(handing(("one", "1"), ("two", "2")))
    with pytest.raises(RunError, match="try later") as raised:
        await team(model, one=fails, two=fails).ainvoke(QUESTION)
    assert type(raised.value) is (GraphFailed if kind is RunError else kind)


def in_vain(place: int, text: str = "") -> AIMessage:
    """A call of a tool that agents have and the supervisor has not."""
    return AIMessage(text, tool_calls=[{"id": f"vain_{place}", "name": "look", "args": {}}])


@pytest.mark.parametrize("require_tool_first", [True, False])
async def test_a_supervisor_that_calls_what_is_no_agent_sees_the_refusal_and_must_answer_after_three_times(
    require_tool_first: bool,
) -> None:
    model = ScriptedChatModel(in_vain(0), in_vain(1), in_vain(2), "I cannot look.")
    end = await team(model, require_tool_first=require_tool_first, one=replies("One.")).ainvoke(QUESTION)
    assert told(end)[-1] == ("ai", "I cannot look.")
    refusal = "There is no agent behind 'look'; call one of transfer_to_one."
    assert [[one.text for one in asked.messages if one.type == "tool"] for asked in model.requests] == [
        [refusal] * times for times in range(4)
    ]


async def test_a_supervisor_that_calls_in_vain_for_ever_fails_the_run_or_gives_what_the_agents_said() -> None:
    model = ScriptedChatModel(*(in_vain(place) for place in range(4)))
    with pytest.raises(GraphFailed, match="neither answered nor called one of transfer_to_one"):
        await team(model, one=replies("One.")).ainvoke(QUESTION)
    model = ScriptedChatModel(*(handing(("one", "1"), ("two", "2")), *(in_vain(place) for place in range(3))))
    end = await team(model, one=replies("One."), two=replies("Two.")).ainvoke(QUESTION)
    assert told(end)[-1] == ("ai", "One.\n\nTwo.")


async def test_failed_calls_of_an_agent_are_no_moves_of_the_supervisor() -> None:
    def tries(state: MessagesState) -> Any:
        task = state["messages"][-1].text
        failed = [
            message
            for place in range(3)
            for message in (
                AIMessage("", tool_calls=[{"id": f"own_{task}_{place}", "name": "look", "args": {}}]),
                ToolMessage("down", name="look", tool_call_id=f"own_{task}_{place}", status="error"),
            )
        ]
        return {"messages": [*failed, AIMessage(f"Did {task}.")]}

    script = [handing(("one", "1"), ("two", "2")), in_vain(0), handing(("one", "3"), ("two", "4")), AIMessage("Done.")]
    model = ScriptedChatModel(*script)
    end = await team(model, one=tries, two=tries).ainvoke(QUESTION)
    assert told(end)[-1] == ("ai", "Done.")
    assert [one.text for one in model.requests[-1].messages if one.type == "tool" and one.status == "error"] == [
        "There is no agent behind 'look'; call one of transfer_to_one, transfer_to_two."
    ]


async def test_an_agent_that_asks_a_person_is_resumed_and_its_task_stays_its_own() -> None:
    def asks(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"They said {interrupt('Sure?')}.")]}

    model = ScriptedChatModel(handing(("one", "1"), ("two", "2")), "Done.")
    graph = team(model, checkpointer=InMemorySaver(), one=asks, two=replies("Two."))
    config = {"configurable": {"thread_id": "1"}}
    stopped = await graph.ainvoke(QUESTION, config)
    assert [one.value for one in stopped["__interrupt__"]] == ["Sure?"]
    end = await graph.ainvoke(Command(resume="yes"), config)
    assert told(end)[2:] == [("tool", "They said yes."), ("tool", "Two."), ("ai", "Done.")]


async def test_a_hand_off_that_was_kept_by_a_checkpointer_is_not_the_next_turns() -> None:
    model = ScriptedChatModel(handing(("one", "1")), "Hello.", handing(("two", "2")))
    graph = team(model, checkpointer=InMemorySaver(), one=repeats, two=repeats)
    config = {"configurable": {"thread_id": "1"}}
    await graph.ainvoke({"messages": [HumanMessage("A")]}, config)
    await graph.ainvoke({"messages": [HumanMessage("B")]}, config)
    end = await graph.ainvoke({"messages": [HumanMessage("C")]}, config)
    assert told(end)[-1] == ("ai", "A/A/B/Hello./C")


def test_calls_an_asker_does_not_have_are_taken_out_with_their_results() -> None:
    content = [{"type": "text", "text": "Let me see."}, {"type": "tool_use", "id": "b", "name": "look", "input": {}}]
    wanted = [{"id": "a", "name": "add", "args": {}}, {"id": "b", "name": "look", "args": {}}]
    history = [
        HumanMessage("?"),
        AIMessage(content, tool_calls=wanted),
        ToolMessage("2", tool_call_id="a"),
        ToolMessage("seen", tool_call_id="b"),
        AIMessage("", tool_calls=[{"id": "c", "name": "look", "args": {}}]),
        ToolMessage("again", tool_call_id="c"),
        AIMessage("2."),
    ]
    shown = only_calls(history, lambda tool: tool == "add")
    assert [(message.type, message.content) for message in shown] == [
        ("human", "?"),
        ("ai", "Let me see."),
        ("tool", "2"),
        ("ai", "2."),
    ]
    assert [call["name"] for call in shown[1].tool_calls] == ["add"]  # type: ignore[attr-defined]


async def test_warnings_of_an_earlier_turn_do_not_outlive_it() -> None:
    async def warned(state: AgentState) -> Any:
        missing = len(before_turn(state["messages"])) == 0
        warnings = {"custom_outputs": {"warnings": ["The tools are down."]}} if missing else {}
        return {"messages": [AIMessage("I could not look.")], **warnings}

    model = ScriptedChatModel(handing(("one", "1")), handing(("one", "2")))
    agent = StateGraph(AgentState).add_node("work", warned).add_edge(START, "work").compile()
    builder = StateGraph(AgentState)
    agents = [Handoff(to="one", description="one", example="?")]
    builder.add_node("supervisor", make_supervisor(model=model, agents=agents, prompt="Lead."))
    builder.add_node("one", make_agent("one", agent))
    builder.add_edge(START, "supervisor")
    builder.add_conditional_edges("supervisor", route_handoffs, ["one", END])
    builder.add_conditional_edges("one", hand_back, ["supervisor", END])
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    first = await graph.ainvoke({"messages": [HumanMessage("A")]}, config)
    second = await graph.ainvoke({"messages": [HumanMessage("B")]}, config)
    assert [one["custom_outputs"]["warnings"] for one in (first, second)] == [["The tools are down."], []]


@pytest.mark.parametrize("name", ["weather agent", "", "x" * 51])
def test_a_node_no_tool_can_be_named_after_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="letters, digits"):
        Handoff(to=name, description="?", example="?")

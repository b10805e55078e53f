"""The messages of `AgentState`: they behave as with `add_messages`, and checkpoints hold only what is new."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from langgraph.types import Overwrite

from graph_agent import AgentState, make_tools
from graph_agent.contract import NodeState
from graph_agent.message_channel import merge_messages
from graph_agent.testing import ScriptedChatModel

HERE = {"configurable": {"thread_id": "t"}}


def some_writes(seed: int) -> list[Any]:
    """Writes of every kind that nodes make, of messages with ids."""
    chosen = random.Random(seed)
    known = ["m0"]
    writes: list[Any] = [[HumanMessage("0", id="m0")]]
    for number in range(1, 12):
        match chosen.randrange(6):
            case 0:
                writes.append([RemoveMessage(id=known.pop(chosen.randrange(len(known))))] if known else [])
            case 1 if known:
                writes.append(AIMessage(f"again {number}", id=chosen.choice(known)))
            case 2:
                known = [f"m{number}"]
                writes.append([RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("new", id=f"m{number}")])
            case 3 if known:
                known.append(f"m{number}")
                again = HumanMessage("kept in its place", id=known[0])
                writes.append([RemoveMessage(id=known[0]), {"role": "user", "content": "a", "id": f"m{number}"}, again])
            case _:
                known.append(f"m{number}")
                writes.append([AIMessageChunk(content=str(number), id=f"m{number}")])
    return writes


@pytest.mark.parametrize("seed", range(40))
def test_messages_are_merged_as_by_langgraphs_own_reducer(seed: int) -> None:
    writes = some_writes(seed)
    expected: Any = []
    for write in writes:
        expected = add_messages(expected, write)
    assert merge_messages([], writes) == expected


@pytest.mark.parametrize("seed", range(40))
def test_the_same_writes_give_the_same_messages_in_batches_of_any_size(seed: int) -> None:
    # Without ids too.
    writes = [*some_writes(seed), "one", ("user", "one"), [{"role": "assistant", "content": "two"}, "one"]]
    whole = merge_messages([], writes)
    for cut in range(len(writes)):
        assert merge_messages(merge_messages([], writes[:cut]), writes[cut:]) == whole
    assert len({one.id for one in whole}) == len(whole)


def test_removing_an_unknown_message_changes_nothing() -> None:
    said = [HumanMessage("Hi", id="a")]
    assert merge_messages(said, [[RemoveMessage(id="b")]]) == said


def test_a_list_that_overwrote_another_may_have_messages_without_ids() -> None:
    merged = merge_messages([{"role": "user", "content": "a"}, ("user", "a")], [["b"]])
    assert [one.text for one in merged] == ["a", "a", "b"]
    assert len({one.id for one in merged}) == 3


# -- in graphs ----------------------------------------------------------------------------------------------------


def echo(state: NodeState) -> dict[str, Any]:
    said = state["messages"][-1].text
    if said == "forget":
        return {"messages": Overwrite([AIMessage("Forgotten.")])}
    if said == "forget all":
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("All forgotten.")]}
    return {"messages": [AIMessage(f"You said {said}.")]}


def served(state: type[Any], saver: InMemorySaver) -> Any:
    builder = StateGraph(state)
    builder.add_node("echo", echo)
    builder.add_edge(START, "echo")
    return builder.compile(checkpointer=saver)


def texts(values: dict[str, Any]) -> Sequence[str]:
    return [one.text for one in values["messages"]]


@pytest.mark.parametrize("durability", ["exit", "sync"])
def test_a_conversation_is_the_same_when_it_is_read_again(durability: Any) -> None:
    saver = InMemorySaver()
    graph = served(AgentState, saver)
    for said in ("one", "forget", "two", "forget all", "three"):
        said_now = graph.invoke({"messages": [HumanMessage(said)]}, HERE, durability=durability)
        read = served(AgentState, saver).get_state(HERE).values
        assert read["messages"] == said_now["messages"]
    assert texts(read) == ["All forgotten.", "three", "You said three."]


def test_a_checkpoint_that_was_written_with_add_messages_goes_on() -> None:
    saver = InMemorySaver()
    served(MessagesState, saver).invoke({"messages": [HumanMessage("one")]}, HERE)
    graph = served(AgentState, saver)
    assert texts(graph.get_state(HERE).values) == ["one", "You said one."]
    graph.invoke({"messages": [HumanMessage("two")]}, HERE, durability="exit")
    assert texts(graph.get_state(HERE).values) == ["one", "You said one.", "two", "You said two."]


def test_checkpoints_hold_only_what_is_new() -> None:
    saver = InMemorySaver()
    graph = served(AgentState, saver)
    for number in range(3):
        graph.invoke({"messages": [HumanMessage(f"number {number}")]}, HERE, durability="exit")
    assert all("messages" not in one.checkpoint["channel_values"] for one in saver.list(HERE))


def test_a_node_may_declare_the_state_of_langgraph() -> None:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Yes.")]}

    builder = StateGraph(AgentState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    assert texts(builder.compile().invoke({"messages": "Really?"})) == ["Really?", "Yes."]


def test_nodes_of_this_package_work_in_a_graph_with_the_state_of_langgraph() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("tools", make_tools([]))
    builder.add_edge(START, "tools")
    assert builder.compile().channels["messages"].operator is add_messages


def test_an_agent_of_langchain_stands_in_a_graph_as_a_subgraph() -> None:
    saver = InMemorySaver()
    builder = StateGraph(AgentState)
    builder.add_node("agent", create_agent(ScriptedChatModel("Hello.", "Again.")))
    builder.add_edge(START, "agent")
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"messages": [HumanMessage("Hi")]}, HERE, durability="exit")
    graph.invoke({"messages": [HumanMessage("Hi again")]}, HERE, durability="exit")
    assert texts(graph.get_state(HERE).values) == ["Hi", "Hello.", "Hi again", "Again."]

"""Instructions of a stored run: first in what every model sees in this run, and in nothing that is stored."""

import operator
from collections.abc import Callable
from typing import Annotated, Any

import anyio
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langgraph.channels.delta import DeltaChannel
from langgraph.func import entrypoint
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer, add_messages
from langgraph.types import Command, Overwrite, Send
from tests.graphs.scripted import says
from tests.runs.running import chain, speaking
from tests.runs.stored import Chat, OpenBook
from typing_extensions import TypedDict

from graph_agent.contract import AgentState
from graph_agent.testing import Call, ScriptedChatModel

pytestmark = pytest.mark.anyio

RULE = "Answer in rhymes only."

Build = Callable[[ScriptedChatModel], Any]


class Deltas(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer)]


class Snapshots(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=1)]


class Replaced(TypedDict):
    messages: list[AnyMessage]


class Added(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


@tool
def look(city: str) -> str:
    """Look a city up."""
    return f"facts on {city}"


def answering(model: ScriptedChatModel) -> Callable[..., Any]:
    """A node for any kind of state, which returns what the model says."""

    async def answer(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return answer


def plain(model: ScriptedChatModel) -> Any:
    return chain(speaking(model))


def deltas(model: ScriptedChatModel) -> Any:
    return chain(answering(model), state=Deltas)


def agent_state(model: ScriptedChatModel) -> Any:
    return chain(answering(model), state=AgentState)


def snapshots(model: ScriptedChatModel) -> Any:
    return chain(answering(model), state=Snapshots)


def whole_history(model: ScriptedChatModel) -> Any:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [*state["messages"], await model.ainvoke(state["messages"])]}

    return chain(answer)


def whole_deltas(model: ScriptedChatModel) -> Any:
    async def answer(state: Deltas) -> dict[str, Any]:
        return {"messages": [*state["messages"], await model.ainvoke(state["messages"])]}

    return chain(answer, state=Deltas)


def overwritten(model: ScriptedChatModel) -> Any:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": Overwrite([*state["messages"], await model.ainvoke(state["messages"])])}

    return chain(answer)


def replaced(model: ScriptedChatModel) -> Any:
    async def answer(state: Replaced) -> dict[str, Any]:
        return {"messages": [*state["messages"], await model.ainvoke(state["messages"])]}

    return chain(answer, state=Replaced)


def nested(model: ScriptedChatModel) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("inner", plain(model))
    builder.add_edge(START, "inner")
    builder.add_edge("inner", END)
    return builder.compile()


def remembering_nested(model: ScriptedChatModel) -> Any:
    inner = StateGraph(MessagesState)
    inner.add_node("answer", speaking(model))
    inner.add_edge(START, "answer")
    builder = StateGraph(MessagesState)
    builder.add_node("inner", inner.compile(checkpointer=True))
    builder.add_edge(START, "inner")
    return builder.compile()


def forgetful_nested(model: ScriptedChatModel) -> Any:
    inner = StateGraph(MessagesState)
    inner.add_node("answer", speaking(model))
    inner.add_edge(START, "answer")
    builder = StateGraph(MessagesState)
    builder.add_node("inner", inner.compile(checkpointer=False))
    builder.add_edge(START, "inner")
    return builder.compile()


def an_agent(model: ScriptedChatModel) -> Any:
    return create_agent(model, [look])


def sent(model: ScriptedChatModel) -> Any:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [*state["messages"], await model.ainvoke(state["messages"])]}

    def pass_on(state: MessagesState) -> Command[Any]:
        return Command(goto=Send("answer", {"messages": state["messages"]}))

    builder = StateGraph(MessagesState)
    builder.add_node("pass_on", pass_on)
    builder.add_node("answer", answer)
    builder.add_edge(START, "pass_on")
    return builder.compile()


def functional(model: ScriptedChatModel) -> Any:
    @entrypoint()
    async def answer(given: dict[str, Any], *, previous: Any = None) -> dict[str, Any]:
        messages = add_messages((previous or {}).get("messages", []), given["messages"])
        return {"messages": [*messages, await model.ainvoke(messages)]}

    return answer


GRAPHS: list[Build] = [
    plain,
    deltas,
    agent_state,
    snapshots,
    whole_history,
    whole_deltas,
    overwritten,
    replaced,
    nested,
    remembering_nested,
    forgetful_nested,
    an_agent,
    sent,
    functional,
]


@pytest.mark.parametrize("build", GRAPHS, ids=lambda build: build.__name__)
async def test_instructions_are_seen_in_their_run_and_stored_nowhere(build: Build, open_book: OpenBook) -> None:
    model = says("Hm.")
    chat = Chat(build(model), open_book)
    with anyio.fail_after(20):
        first = await chat.say("one", instructions=RULE)
        assert first[-1]["type"] == "response.completed"
        assert [one["content"][0]["text"] for one in first[-1]["response"]["output"]] == ["Hm."]
        second = await chat.say("two")
        third = await chat.say("three", instructions=RULE)
    assert len(second[-1]["response"]["output"]) == len(third[-1]["response"]["output"]) == 1
    assert RULE not in open_book.checkpoints
    seen = [request.texts for request in model.requests]
    before = ["one", "Hm.", "two"]
    if build is functional:
        # It gets them as a message of its input, and joins the input to its history itself.
        assert seen == [[RULE, "one"], before, [*before, "Hm.", RULE, "three"]]
    else:
        assert seen == [[RULE, "one"], before, [RULE, *before, "Hm.", "three"]]


async def test_every_model_call_of_a_run_sees_the_instructions_first(open_book: OpenBook) -> None:
    model = says(Call("look", {"city": "Rome"}), "Old.")
    chat = Chat(create_agent(model, [look], system_prompt="You guide tourists."), open_book)
    with anyio.fail_after(20):
        await chat.say("one", instructions=RULE)
        await chat.say("two")
    first, second, third, _ = [request.texts for request in model.requests]
    assert first == ["You guide tourists.", RULE, "one"]
    assert second[:3] == ["You guide tourists.", RULE, "one"]
    assert third == ["You guide tourists.", "one", "", "facts on Rome", "Old.", "two"]
    assert RULE not in open_book.checkpoints


@pytest.mark.parametrize("state", [MessagesState, AgentState, Deltas, Snapshots])
async def test_a_run_that_fails_below_and_beside_stores_no_instructions(state: Any, open_book: OpenBook) -> None:
    async def inner_fails(inner: Any) -> dict[str, Any]:
        raise RuntimeError

    async def returns_all(given: Any) -> dict[str, Any]:
        return {"messages": [*given["messages"], AIMessage("Aside.")]}

    inner = StateGraph(state)
    inner.add_node("first", returns_all)
    inner.add_node("fails", inner_fails)
    inner.add_edge(START, "first")
    inner.add_edge("first", "fails")
    builder = StateGraph(state)
    builder.add_node("inner", inner.compile())
    builder.add_node("beside", returns_all)
    builder.add_edge(START, "inner")
    builder.add_edge(START, "beside")
    chat = Chat(builder.compile(), open_book)
    with anyio.fail_after(20):
        events = await chat.say("one", instructions=RULE)
    assert events[-1]["type"] == "response.failed"
    assert (await chat.record()).checkpoint is not None
    assert "one" in open_book.checkpoints
    assert RULE not in open_book.checkpoints

"""What the next turn of a stored conversation finds in the state, also after runs that did not end by themselves."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import DeltaChannelHistory
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from tests.graphs.scripted import says
from tests.runs.registered import OneGraph, some_runs
from tests.runs.running import chain, speaking
from tests.runs.stored import Chat, texts

from graph_agent.contract import AgentContext, AgentState, Source
from graph_agent.protocol.dialects import OPENAI, RESPONSES
from graph_agent.runs.observers import Outcome, RunInfo
from graph_agent.runs.open_thread import NO_RESULT
from graph_agent.runs.request import Scope
from graph_agent.settings import Budgets
from graph_agent.stores.sqlite_store import MemoryStore
from graph_agent.testing import Call

pytestmark = pytest.mark.anyio


def a_source(number: int, text: str) -> Source:
    return Source(number=number, doc_uri="doc", chunk_id=text, title="T", text=text)


# -- what belongs to one run --------------------------------------------------------------------------------------


async def test_each_run_starts_without_the_sources_and_outputs_of_the_ones_before(store: MemoryStore) -> None:
    seen: list[Any] = []

    async def answer(state: AgentState) -> dict[str, Any]:
        said = state["messages"][-1].text
        seen.append((state.get("sources"), state.get("custom_outputs")))
        if said == "nothing":
            return {"messages": [AIMessage("None.")]}
        return {"messages": [AIMessage("Yes.")], "sources": [a_source(1, said)], "custom_outputs": {said: True}}

    chat = Chat(chain(answer, state=AgentState), store)
    with anyio.fail_after(20):
        await chat.say("one")
        two = await chat.say("two")
        await chat.say("nothing")
        last = await chat.values()
        four = await chat.say("four")
    assert seen == [([], {})] * 4
    assert two[-1]["response"]["custom_outputs"].keys() == {"two", "thread_id"}
    assert four[-1]["response"]["custom_outputs"].keys() == {"four", "thread_id"}
    assert not last.get("sources")
    assert not last.get("custom_outputs")
    assert (await chat.values())["sources"] == [a_source(1, "four")]


async def test_a_state_of_the_authors_own_is_not_reset(store: MemoryStore) -> None:
    class Counting(MessagesState):
        turns: int

    async def answer(state: Counting) -> dict[str, Any]:
        turns = state.get("turns", 0) + 1
        return {"messages": [AIMessage(f"Turn {turns}.")], "turns": turns}

    chat = Chat(chain(answer, state=Counting), store)
    with anyio.fail_after(20):
        await chat.say("one")
        assert texts(await chat.say("two")) == ["Turn 2."]


async def test_the_graph_learns_the_conversations_id(store: MemoryStore) -> None:
    async def answer(state: MessagesState, runtime: Runtime[AgentContext]) -> dict[str, Any]:
        return {"messages": [AIMessage(f"This is {runtime.context.thread}.")]}

    with anyio.fail_after(20):
        events = await Chat(chain(answer, context_schema=AgentContext), store).say("one")
    assert texts(events) == [f"This is {events[0]['response']['custom_outputs']['thread_id']}."]


async def test_a_function_that_keeps_nothing_gets_the_whole_history_in_every_turn(store: MemoryStore) -> None:
    @entrypoint()
    async def answer(given: dict[str, Any]) -> dict[str, Any]:
        said = [f"{one.type}: {one.text}" for one in given["messages"]]
        return {"messages": [AIMessage(f"{len(said)} messages, the first is {said[0]}.")]}

    chat = Chat(answer, store)
    with anyio.fail_after(20):
        await chat.say("one")
        assert texts(await chat.say("two")) == ["3 messages, the first is human: one."]
        assert texts(await chat.say("three")) == ["5 messages, the first is human: one."]


async def test_a_trace_belongs_to_the_conversation_and_shows_what_the_run_was_told(store: MemoryStore) -> None:
    told: list[RunInfo] = []

    class Told:
        handler = None

        def started(self, run: RunInfo) -> None:
            told.append(run)

        def ended(self, outcome: Outcome) -> None: ...

    chat = Chat(chain(speaking(says("Hm."))), store)
    with anyio.fail_after(20):
        await chat.say("one")
        request = chat.request("two", instructions="Be brief.")
        run = await chat.runs.start(request, Scope(), graphs=OneGraph(chat.graph), store=store, observers=[Told()])
        await run.ended()
    assert [one.text for one in told[0].messages] == ["Be brief.", "two"]
    assert told[0].request.conversation == (await chat.record()).conversation


# -- the history is not told again --------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [RESPONSES, OPENAI], ids=["responses", "openai"])
async def test_a_node_that_returns_the_whole_history_sends_only_the_answer(dialect: Any, store: MemoryStore) -> None:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [*state["messages"], AIMessage(f"Answer {len(state['messages'])}.")]}

    chat = Chat(chain(answer), store, dialect=dialect)
    with anyio.fail_after(20):
        await chat.say("one")
        assert texts(await chat.say("two")) == ["Answer 3."]
        assert texts(await chat.say("three")) == ["Answer 5."]


@tool
def look(city: str) -> str:
    """Look a city up."""
    return f"facts on {city}"


@pytest.mark.parametrize("dialect", [RESPONSES, OPENAI], ids=["responses", "openai"])
async def test_ids_of_stored_calls_are_taken(dialect: Any, store: MemoryStore) -> None:
    model = says(Call("look", {"city": "Rome"}, "call_0"), "Done.")
    chat = Chat(create_agent(model, [look]), store, dialect=dialect)
    with anyio.fail_after(20):
        one = await chat.say("one")
        two = await chat.say("two")
    kind = "mcp_call" if dialect is OPENAI else "function_call"

    def calls(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [item for item in events[-1]["response"]["output"] if item["type"] == kind]

    assert len(calls(one)) == len(calls(two)) == 1
    assert calls(one)[0]["id"] != calls(two)[0]["id"]
    if dialect is RESPONSES:
        assert calls(one)[0]["call_id"] != calls(two)[0]["call_id"]
    assert texts(two) == ["Done."]


async def test_the_record_says_which_message_of_the_state_each_item_is(store: MemoryStore) -> None:
    model = says(["Let me ", "look.", Call("look", {"city": "Rome"}, "a")], "Done.")
    chat = Chat(create_agent(model, [look]), store)
    with anyio.fail_after(20):
        await chat.say("one")
        record = await chat.record()
        state = {message.id: message.text for message in await chat.state()}
    items = {item["id"]: item["content"][0]["text"] for item in record.output if item["type"] == "message"}
    assert {items[item]: state[message] for item, message in record.messages.items()} == {
        "Let me look.": "Let me look.",
        "Done.": "Done.",
    }


async def test_a_graph_within_the_graph_that_remembers_forks_with_its_conversation(store: MemoryStore) -> None:
    model = says("Hm.")
    inner = StateGraph(MessagesState)
    inner.add_node("answer", speaking(model))
    inner.add_edge(START, "answer")
    builder = StateGraph(MessagesState)
    builder.add_node("inner", inner.compile(checkpointer=True))
    builder.add_edge(START, "inner")
    chat = Chat(builder.compile(), store)
    with anyio.fail_after(20):
        await chat.say("one")
        first = chat.last
        await chat.say("two")
        second = chat.last
        await chat.say("other", after=first)
        assert model.requests[-1].texts == ["one", "Hm.", "other"]
        await chat.say("more")
        assert model.requests[-1].texts == ["one", "Hm.", "other", "Hm.", "more"]
        await chat.say("three", after=second)
        assert model.requests[-1].texts == ["one", "Hm.", "two", "Hm.", "three"]


# -- runs that did not end by themselves --------------------------------------------------------------------------


async def look_around(state: MessagesState) -> dict[str, Any]:
    """Reaches a first checkpoint."""
    return {}


def an_agent(model: Any, *tools: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("agent", speaking(model, "agent"))
    builder.add_node("tools", ToolNode([*tools]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile()


async def test_a_call_that_a_cancelled_run_left_gets_a_result_that_says_so(store: MemoryStore) -> None:
    called = asyncio.Event()

    @tool
    async def wait(city: str) -> str:
        """Wait for a city."""
        called.set()
        await asyncio.Event().wait()
        return "never"

    calls = [Call("wait", {"city": "Rome"}, "a"), Call("look", {"city": "Oslo"}, "b")]
    model = says(lambda messages: "Fine." if messages[-1].text == "two" else calls)
    chat = Chat(an_agent(model, wait, look), store)
    with anyio.fail_after(20):
        run = await chat.start("one")
        reader = chat.runs.read(run)
        await called.wait()
        await reader.leave()
        assert texts(await chat.say("two")) == ["Fine."]
    kinds = [(one.type, one.text) for one in model.requests[-1].messages]
    assert kinds == [("human", "one"), ("ai", ""), ("tool", NO_RESULT), ("tool", NO_RESULT), ("human", "two")]
    assert [one.tool_call_id for one in model.requests[-1].messages if one.type == "tool"] == ["a", "b"]
    assert len(await chat.state()) == 6


async def test_what_a_cancelled_run_had_said_is_known_to_the_next_one(store: MemoryStore) -> None:
    model = says(lambda messages: "Fine." if messages[-1].text == "Go on." else "Half of an answer")
    said, first = asyncio.Event(), True

    async def speak(state: MessagesState) -> dict[str, Any]:
        nonlocal first
        answer = await model.ainvoke(state["messages"])
        if first:
            first = False
            said.set()
            await asyncio.Event().wait()
        return {"messages": [answer]}

    chat = Chat(chain(look_around, speak), store)
    with anyio.fail_after(20):
        run = await chat.start("one")
        reader = chat.runs.read(run)
        await said.wait()
        await reader.leave()
        assert (await chat.record()).status == "cancelled"
        assert texts(await chat.say("Go on.")) == ["Fine."]
    kinds = [(one.type, one.text) for one in model.requests[-1].messages]
    assert kinds == [("human", "one"), ("ai", "Half of an answer"), ("human", "Go on.")]
    assert [one.text for one in await chat.state()] == ["one", "Half of an answer", "Go on.", "Fine."]


async def test_a_run_that_was_cut_is_continued(store: MemoryStore) -> None:
    model = says(
        lambda messages: "Fine." if "two" in [one.text for one in messages] else Call("look", {"city": "Rome"})
    )
    chat = Chat(an_agent(model, look), store, runs=some_runs(budgets=Budgets(seconds=30, steps=3)))
    with anyio.fail_after(20):
        first = await chat.say("one")
        record = await chat.record()
        assert first[-1]["type"] == "response.incomplete"
        assert record.status == "incomplete"
        assert record.checkpoint is not None
        assert texts(await chat.say("two"))[-1] == "Fine."
    asked = [call["id"] for one in model.requests[-1].messages if one.type == "ai" for call in one.tool_calls]
    answered = [one.tool_call_id for one in model.requests[-1].messages if one.type == "tool"]
    assert asked == answered


async def test_an_interrupted_run_is_recorded_as_waiting_and_continued(store: MemoryStore) -> None:
    asks = [True]

    async def ask(state: MessagesState) -> dict[str, Any]:
        if asks:
            asks.clear()
            interrupt("May I?")
        return {"messages": [AIMessage(f"{len(state['messages'])} messages.")]}

    chat = Chat(chain(ask), store)
    with anyio.fail_after(20):
        first = await chat.say("one")
        record = await chat.record()
        assert [item["type"] for item in first[-1]["response"]["output"]] == ["mcp_approval_request"]
        assert record.status == "completed"
        assert record.waiting is not None
        assert [one["interrupt"] != "" for one in record.waiting.approvals] == [True]


# -- what a turn costs --------------------------------------------------------------------------------------------


class Counting(InMemorySaver):
    """Counts how often the messages before a checkpoint are made again."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        self.read += 1
        return await super().aget_delta_channel_history(config=config, channels=channels)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_turn_reads_the_history_once_at_most_and_leaves_it_as_it_was(
    restarted: bool, store: MemoryStore
) -> None:
    async def answer(state: AgentState) -> dict[str, Any]:
        # No graph should change the list, but one that does must not change what the next reader gets.
        count = len(state["messages"])
        state["messages"].clear()
        return {"messages": [AIMessage(f"{count} before")]}

    saver = Counting()
    chat = Chat(chain(answer, state=AgentState), WithSaver(store, saver))
    with anyio.fail_after(20):
        for text in ("one", "two", "three"):
            await chat.say(text)
            if restarted:
                chat.runs = some_runs()
        assert saver.read == (2 if restarted else 0)
        assert [one.text for one in await chat.state()] == ["one", "1 before", "two", "3 before", "three", "5 before"]


class WithSaver:
    """A store whose runs share one saver."""

    def __init__(self, store: MemoryStore, saver: InMemorySaver) -> None:
        self.responses, self.runs, self._store, self._saver = store.responses, store.runs, store, saver
        self.may_be_shared = store.may_be_shared

    def checkpointer(self, right: Any = None) -> InMemorySaver:
        return self._saver

    async def open(self) -> None:
        await self._store.open()

    async def aclose(self) -> None:
        await self._store.aclose()

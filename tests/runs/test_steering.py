"""Messages for a response in progress: where its graph stops for them, and who gets them."""

import asyncio
import gc
import random
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt
from tests.runs.background import NODES, Nodes
from tests.runs.registered import some_runs
from tests.runs.running import chain
from tests.runs.steering import ended, given_back, line, said, steer
from tests.runs.stored import Chat, texts

from graph_agent.contract import AgentState
from graph_agent.errors import TooManyRuns
from graph_agent.identity.owner import Owner
from graph_agent.runs.run import Run
from graph_agent.stores.sqlite_store import MemoryStore

pytestmark = pytest.mark.anyio


def holding(store: MemoryStore, at: str) -> tuple[Nodes, Chat]:
    """A graph that waits in this node, and a conversation with it."""
    nodes = Nodes()
    nodes.hold(at)
    return nodes, Chat(nodes.graph(), store)


async def begun(chat: Chat, nodes: Nodes, at: str) -> Run:
    """A run that waits in this node."""
    run = await chat.start("begin")
    await nodes.at[at].wait()
    return run


async def test_the_graph_stops_between_two_steps_and_goes_on_there_with_the_message(store: MemoryStore) -> None:
    nodes, chat = holding(store, "two")
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "two")
        accepted = await steer(chat, "meanwhile")
        nodes.open()
        first, second = await line(chat, run.id)
    assert first.response["status"] == "incomplete"
    assert first.response["incomplete_details"]["reason"] == "steered"
    assert second.response["status"] == "completed"
    assert second.parent == first.id
    # No node ran twice, and the message is where the graph stopped.
    assert nodes.done == list(NODES)
    assert said(await chat.state(second.id)) == ["begin", "This is one.", "This is two.", "meanwhile", "This is three."]
    assert said(await chat.state(first.id)) == ["begin", "This is one.", "This is two."]
    assert [item["content"] for item in second.input] == ["meanwhile"]
    [steered] = await store.responses.steers(Owner.of(chat.owner), first.id)
    assert (steered.id, steered.status, steered.successor) == (accepted.id, "taken", second.id)
    # What was said before is not said again.
    assert texts([{"response": second.response}]) == ["This is three."]


async def test_what_comes_in_the_last_step_begins_the_next_turn(store: MemoryStore) -> None:
    nodes, chat = holding(store, "three")
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "three")
        await steer(chat, "meanwhile")
        nodes.open()
        first, second = await line(chat, run.id)
    assert (first.response["status"], first.response["incomplete_details"]) == ("completed", None)
    assert nodes.done == [*NODES, *NODES]
    assert said(await chat.state(second.id))[4] == "meanwhile"


async def test_several_messages_go_to_one_successor_in_their_order(store: MemoryStore) -> None:
    nodes, chat = holding(store, "one")
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "one")
        for text in ("first", "second", "third"):
            await steer(chat, text)
        nodes.open()
        before, after = await line(chat, run.id)
    assert [item["content"] for item in after.input] == ["first", "second", "third"]
    assert said(await chat.state(before.id)) == ["begin", "This is one."]
    assert said(await chat.state(after.id))[2:5] == ["first", "second", "third"]
    assert nodes.done == list(NODES)


async def test_a_successor_is_steered_like_any_other_response(store: MemoryStore) -> None:
    nodes, chat = holding(store, "one")
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "one")
        await steer(chat, "first")
        nodes.hold("two")
        nodes.gates["one"].set()
        first = await ended(chat, run.id)
        await nodes.at["two"].wait()
        await steer(chat, "second", response=first.response["metadata"]["successor_id"])
        nodes.open()
        records = await line(chat, run.id)
    assert [one.status for one in records] == ["incomplete", "incomplete", "completed"]
    assert nodes.done == list(NODES)
    assert said(await chat.state(records[-1].id)) == [
        *("begin", "This is one.", "first", "This is two.", "second", "This is three.")
    ]


async def test_the_graph_does_not_stop_between_a_call_and_its_result(store: MemoryStore) -> None:
    working, go_on = asyncio.Event(), asyncio.Event()

    @tool
    async def look(where: str) -> str:
        """Look somewhere."""
        working.set()
        await go_on.wait()
        return "Nothing there."

    asked: list[list[str]] = []

    async def model(state: AgentState) -> dict[str, Any]:
        asked.append(said(state["messages"]))
        if not any(isinstance(one, ToolMessage) for one in state["messages"]):
            started.set()
            await called.wait()
            call = {"name": "look", "args": {"where": "here"}, "id": "call_1"}
            return {"messages": [AIMessage("", tool_calls=[call], id="a1")]}
        return {"messages": [AIMessage("Done.", id="a2")]}

    async def tools(state: AgentState) -> dict[str, Any]:
        [call] = state["messages"][-1].tool_calls
        return {"messages": [await look.ainvoke(call)]}

    started, called = asyncio.Event(), asyncio.Event()
    graph: Any = StateGraph(AgentState)
    graph.add_node("model", model)
    graph.add_node("tools", tools)
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    graph.add_edge("tools", "model")
    chat = Chat(graph.compile(), store)
    with anyio.fail_after(20):
        run = await chat.start("begin")
        # While the model writes the call: the next step is that of the tool.
        await started.wait()
        await steer(chat, "meanwhile")
        called.set()
        await working.wait()
        go_on.set()
        first, second = await line(chat, run.id)
    assert [item["type"] for item in first.output] == ["function_call", "function_call_output"]
    assert asked == [["begin"], ["begin", "", "Nothing there.", "meanwhile"]]
    assert texts([{"response": second.response}]) == ["Done."]


async def test_a_graph_within_the_graph_runs_to_its_end(store: MemoryStore) -> None:
    nodes = Nodes()
    nodes.hold("two")
    done: list[str] = []

    async def after(state: AgentState) -> dict[str, Any]:
        done.append("after")
        return {"messages": [AIMessage("After.", id="after")]}

    graph: Any = StateGraph(AgentState)
    graph.add_node("inner", nodes.graph())
    graph.add_node("after", after)
    graph.add_edge(START, "inner")
    graph.add_edge("inner", "after")
    chat = Chat(graph.compile(), store)
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "two")
        await steer(chat, "meanwhile")
        nodes.open()
        _, second = await line(chat, run.id)
    assert (nodes.done, done) == (list(NODES), ["after"])
    assert said(await chat.state(second.id))[-3:] == ["This is three.", "meanwhile", "After."]


async def test_a_message_for_a_graph_that_asks_a_person_waits_for_the_answer(store: MemoryStore) -> None:
    asks, go_on = asyncio.Event(), asyncio.Event()

    async def ask(state: AgentState) -> dict[str, Any]:
        asks.set()
        await go_on.wait()
        return {"messages": [AIMessage(f"You said {interrupt({'question': 'Which?'})}.")]}

    async def count(state: AgentState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"I know {len(state['messages'])}.")]}

    chat = Chat(chain(ask, state=AgentState), store)
    with anyio.fail_after(20):
        run = await chat.start("begin")
        await asks.wait()
        await steer(chat, "meanwhile")
        go_on.set()
        first = await ended(chat, run.id)
        assert await given_back(chat, first.id) == [("queued", None)]
        [question] = first.output
        answer = {"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}
        await chat.say([answer])
        second = await chat.record()
    assert first.response["status"] == "completed"
    assert [item["type"] for item in second.input] == ["mcp_approval_response", "message"]
    assert "meanwhile" in said(await chat.state())
    assert await given_back(chat, first.id) == [("taken", None)]


async def test_a_run_that_fails_or_is_cancelled_gives_its_messages_back(store: MemoryStore) -> None:
    nodes = Nodes()
    nodes.hold("two")

    async def fail(state: AgentState) -> dict[str, Any]:
        nodes.at["one"].set()
        await nodes.gates["two"].wait()
        raise RuntimeError

    chat = Chat(chain(fail, state=AgentState), store)
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "one")
        await steer(chat, "meanwhile")
        nodes.open()
        failed = await ended(chat, run.id)
    assert failed.status == "failed"
    assert await given_back(chat, failed.id) == [("failed", "response_not_active")]
    nodes, chat = holding(store, "two")
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "two")
        await steer(chat, "meanwhile")
        await run.cancel()
        cancelled = await ended(chat, run.id)
    assert cancelled.status == "cancelled"
    assert await given_back(chat, cancelled.id) == [("failed", "response_not_active")]


async def test_another_request_may_still_follow_a_response_that_was_steered(store: MemoryStore) -> None:
    nodes, chat = holding(store, "one")
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "one")
        await steer(chat, "meanwhile")
        nodes.open()
        first, second = await line(chat, run.id)
        await chat.say("otherwise", after=first.id)
        assert said(await chat.state())[:3] == ["begin", "This is one.", "otherwise"]
        await chat.say("and then", after=second.id)
        assert said(await chat.state())[2:6] == ["meanwhile", "This is two.", "This is three.", "and then"]


@pytest.mark.parametrize("state", [MessagesState, AgentState])
async def test_a_state_of_any_kind_takes_a_message_once(state: Any, store: MemoryStore) -> None:
    at, gate = asyncio.Event(), asyncio.Event()

    async def slow(state: Any) -> dict[str, Any]:
        at.set()
        await gate.wait()
        return {"messages": [AIMessage("Slow.", id="slow")]}

    async def quick(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("Quick.", id="quick")]}

    chat = Chat(chain(slow, quick, state=state), store)
    with anyio.fail_after(20):
        run = await chat.start("begin", instructions="Be kind.")
        await at.wait()
        await steer(chat, [{"role": "user", "content": [{"type": "input_text", "text": "meanwhile"}]}])
        gate.set()
        records = await line(chat, run.id)
    assert said(await chat.state(records[-1].id)) == ["begin", "Slow.", "meanwhile", "Quick."]
    assert isinstance((await chat.state(records[-1].id))[2], HumanMessage)


async def test_a_hundred_messages_at_random_moments_are_each_taken_once_in_order(store: MemoryStore) -> None:
    seeded = random.Random(20261130)
    kinds: list[int] = []
    with anyio.fail_after(60):
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                moments = [seeded.randrange(12) for _ in range(5)]
                # How many turns of the event loop a step takes depends on the machine. So half of the graphs wait in a
                # step for their message.
                held = seeded.randrange(4) if number % 2 else None
                group.create_task(_steered_at_random(number, moments, held, store, kinds))
    # Some stopped the graph, and some came in its last step.
    assert kinds.count(4) > 20
    assert kinds.count(8) > 5
    assert len(kinds) == 100


async def _steered_at_random(
    number: int, moments: list[int], held: int | None, store: MemoryStore, kinds: list[int]
) -> None:
    accepted, at, done = asyncio.Event(), asyncio.Event(), list[str]()

    def node(place: int) -> Any:
        async def work(state: AgentState) -> dict[str, Any]:
            if place == (held or 0):
                at.set()
            for _ in range(moments[place]):
                await asyncio.sleep(0)
            if place in (held, 3):
                await accepted.wait()
            done.append(f"{place}")
            return {"messages": [AIMessage(f"{place}")]}

        work.__name__ = f"node_{place}"
        return work

    chat = Chat(chain(*(node(place) for place in range(4)), state=AgentState), store)
    run = await chat.start(f"begin {number}")
    await at.wait()
    for _ in range(moments[4] * 6):
        await asyncio.sleep(0)
    await steer(chat, f"steer {number}")
    accepted.set()
    first, second = await line(chat, run.id)
    state = said(await chat.state(second.id))
    assert state.count(f"steer {number}") == 1
    assert [one for one in state if not one.startswith("steer")] == [f"begin {number}", *done]
    assert done == ["0", "1", "2", "3"] * (len(done) // 4)
    stopped = first.response["status"] == "incomplete"
    assert len(done) == (4 if stopped else 8)
    kinds.append(len(done))
    # The message is behind what the graph had done until then.
    assert said(await chat.state(first.id)) == state[: state.index(f"steer {number}")]
    assert texts([{"response": second.response}])[-1:] == ["3"]


class Unreadable(MemoryStore):
    """A store whose checkpoints cannot be read from some moment on."""

    broken = False

    def checkpointer(self, right: Any = None) -> Any:
        saver: Any = super().checkpointer(right)
        if self.broken:

            async def fail(config: Any) -> None:
                raise RuntimeError

            saver.aget_tuple = fail
        return saver


async def test_a_successor_that_cannot_start_says_why_and_leaves_the_conversation_free() -> None:
    store, nodes = Unreadable(), Nodes()
    await store.open()
    nodes.hold("two")
    chat = Chat(nodes.graph(), store)
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "two")
        await steer(chat, "meanwhile")
        store.broken = True
        nodes.open()
        first, second = await line(chat, run.id)
        store.broken = False
        await chat.say("again", after=second.id)
    assert (first.status, second.status) == ("incomplete", "failed")
    assert second.response["error"]["code"] == "store_unavailable"
    # It has the message, so the next turn knows it.
    assert said(await chat.state())[3:5] == ["meanwhile", "again"]
    assert chat.runs.activity.taken == 0
    await store.aclose()


async def test_the_slot_of_a_run_passes_to_its_successor(store: MemoryStore) -> None:
    nodes = Nodes()
    nodes.hold("one")
    chat = Chat(nodes.graph(), store, runs=some_runs(most=1))
    with anyio.fail_after(20):
        run = await begun(chat, nodes, "one")
        await steer(chat, "meanwhile")
        nodes.hold("two")
        nodes.gates["one"].set()
        first = await ended(chat, run.id)
        await nodes.at["two"].wait()
        assert chat.runs.activity.taken == 1
        with pytest.raises(TooManyRuns):
            chat.runs.require_free_slot()
        nodes.open()
        await ended(chat, first.response["metadata"]["successor_id"])
    assert chat.runs.activity.taken == 0


async def test_runs_that_were_steered_leave_memory_without_the_garbage_collector(store: MemoryStore) -> None:
    async def steered() -> None:
        nodes = Nodes()
        nodes.hold("two")
        chat = Chat(nodes.graph(), store)
        run = await begun(chat, nodes, "two")
        await steer(chat, "meanwhile")
        nodes.open()
        assert len(await line(chat, run.id)) == 2

    def held() -> int:
        return sum(isinstance(one, Run) for one in gc.get_objects())

    with anyio.fail_after(20):
        await steered()
        gc.collect()
        before = held()
        gc.disable()
        try:
            for _ in range(3):
                await steered()
            # The last one may still be about to be let go.
            assert held() - before <= 1
        finally:
            gc.enable()

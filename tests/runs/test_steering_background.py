"""Messages for responses whose runs are in the background: any process accepts them, and a crash loses none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage
from langgraph.types import interrupt
from tests.runs.background import NODES, Nodes, Process, check_log, events_of, record_when_ended
from tests.runs.running import chain
from tests.runs.steering import line, said, steer
from tests.runs.stored import Chat
from tests.stores.conftest import (  # noqa: F401
    StoreOf,
    clock,
    postgres_store_of,
    running_postgres,
    sqlite_store_of,
    store_of,
)

from graph_agent.contract import AgentState
from graph_agent.protocol.steering import SUCCESSOR
from graph_agent.runs.request import Scope

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(store_of: StoreOf) -> AsyncIterator[Any]:  # noqa: F811
    made = store_of()
    await made.open()
    yield made
    await made.aclose()


async def until(happens: Callable[[], bool]) -> None:
    """Look again and again whether it has happened."""
    while True:
        if happens():
            return
        await asyncio.sleep(0.01)


class Several:
    """Processes with one store and one graph, in which one person talks."""

    def __init__(self, store: Any, graph: Any) -> None:
        self.store, self.graph = store, graph
        self.processes: list[Process] = []

    def begin(self) -> tuple[Process, Chat]:
        """Another process, and a conversation at it."""
        process = Process(self.store, self.graph).begin()
        self.processes.append(process)
        return process, Chat(self.graph, self.store, runs=process.runs)

    async def line(self, first: str) -> list[Any]:
        """The records of a response and of those that followed it because of steers, once all have ended."""
        records = [await record_when_ended(self.store, first)]
        while (successor := records[-1].response["metadata"].get(SUCCESSOR)) is not None:
            records.append(await record_when_ended(self.store, successor))
        for record in records:
            check_log(await events_of(self.store, record.id), record)
        return records


@pytest.fixture
async def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
async def several(store: Any, nodes: Nodes) -> AsyncIterator[Several]:
    several = Several(store, nodes.graph())
    yield several
    nodes.open()
    for process in several.processes:
        await process.aclose()


async def test_the_successor_is_queued_and_goes_on_where_the_graph_stopped(several: Several, nodes: Nodes) -> None:
    process, chat = several.begin()
    nodes.hold("two")
    with anyio.fail_after(20):
        response = await process.submit("begin", chat=chat)
        await nodes.at["two"].wait()
        await steer(chat, "meanwhile", response=response)
        nodes.open()
        first, second = await several.line(response)
    assert first.response["incomplete_details"]["reason"] == "steered"
    assert (second.status, second.response["background"]) == ("completed", True)
    assert nodes.done == list(NODES)
    assert said(await chat.state(second.id))[3:] == ["meanwhile", "This is three."]


async def test_another_process_accepts_a_message_for_the_one_that_runs(several: Several, nodes: Nodes) -> None:
    process, chat = several.begin()
    nodes.hold("two")
    with anyio.fail_after(20):
        response = await process.submit("begin", chat=chat)
        await nodes.at["two"].wait()
        _, other = several.begin()
        await steer(other, "meanwhile", response=response)
        # The process that has the run hears of it.
        run = process.runs.own(chat.owner, response)
        assert run is not None
        await until(lambda: run.is_steered)
        nodes.open()
        first, second = await several.line(response)
    assert first.status == "incomplete"
    assert nodes.done == list(NODES)
    assert said(await chat.state(second.id)).count("meanwhile") == 1


async def test_a_message_for_a_queued_run_waits_for_its_first_step(several: Several, nodes: Nodes) -> None:
    process = Process(several.store, several.graph)
    several.processes.append(process)
    chat = Chat(several.graph, several.store, runs=process.runs)
    with anyio.fail_after(20):
        response = await process.submit("begin", chat=chat)
        await steer(chat, "meanwhile", response=response)
        process.begin()
        first, second = await several.line(response)
    assert first.response["incomplete_details"]["reason"] == "steered"
    assert nodes.done == list(NODES)
    assert said(await chat.state(second.id)).count("meanwhile") == 1


@pytest.mark.parametrize("node", NODES)
async def test_a_process_that_dies_loses_no_accepted_message(several: Several, nodes: Nodes, node: str) -> None:
    process, chat = several.begin()
    nodes.hold(node)
    with anyio.fail_after(20):
        response = await process.submit("begin", chat=chat)
        await nodes.at[node].wait()
        await steer(chat, "meanwhile", response=response)
        await process.kill()
        nodes.open()
        several.begin()
        records = await several.line(response)
    assert [one.id for one in records][:1] == [response]
    assert len(records) == 2
    state = said(await chat.state(records[1].id))
    assert state.count("meanwhile") == 1
    # The process died in the middle of a node, which counts when it has ended. So none has ended twice in one turn.
    assert nodes.done == list(NODES) * (len(nodes.done) // 3)
    assert [one for one in state if one.startswith("This")] == [f"This is {one}." for one in nodes.done]


async def test_a_successor_whose_process_dies_gets_its_message_once(several: Several, nodes: Nodes) -> None:
    process, chat = several.begin()
    nodes.hold("one")
    with anyio.fail_after(20):
        response = await process.submit("begin", chat=chat)
        await nodes.at["one"].wait()
        await steer(chat, "meanwhile", response=response)
        nodes.hold("two")
        nodes.gates["one"].set()
        await nodes.at["two"].wait()
        # The successor is in its first step.
        await process.kill()
        nodes.open()
        several.begin()
        _, second = await several.line(response)
    assert nodes.done == list(NODES)
    assert said(await chat.state(second.id)) == [
        *("begin", "This is one.", "meanwhile", "This is two.", "This is three.")
    ]


async def test_what_goes_on_elsewhere_from_the_same_place_does_not_get_the_message(
    several: Several, nodes: Nodes
) -> None:
    process, chat = several.begin()
    nodes.hold("one")
    with anyio.fail_after(20):
        response = await process.submit("begin", chat=chat)
        await nodes.at["one"].wait()
        await steer(chat, "meanwhile", response=response)
        nodes.open()
        await several.line(response)
        await chat.say("otherwise", after=response)
    assert said(await chat.state())[:3] == ["begin", "This is one.", "otherwise"]
    assert "meanwhile" not in said(await chat.state())


async def test_a_graph_that_was_answered_takes_its_answer_before_it_stops(store: Any) -> None:
    async def ask(state: AgentState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"You said {interrupt({'question': 'Which?'})}.")]}

    async def after(state: AgentState) -> dict[str, Any]:
        return {"messages": [AIMessage("After.")]}

    several = Several(store, chain(ask, after, state=AgentState))
    process = Process(store, several.graph)
    chat = Chat(several.graph, store, runs=process.runs)
    with anyio.fail_after(20):
        await chat.say("begin")
        [question] = (await chat.record()).output
        answer = {"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}
        request = chat.request([answer], background=True)
        response = (await process.runs.submit(request, Scope(), graphs=process.graphs, store=store)).id
        await steer(chat, "meanwhile", response=response)
        # The run is steered before its first step, which is the one that was answered.
        process.begin()
        _, second = await several.line(response)
        await process.aclose()
    state = said(await chat.state(second.id))
    assert [one.split()[0] for one in state] == ["begin", "You", "meanwhile", "After."]


async def test_a_run_in_the_foreground_is_steered_at_another_process_and_its_successor_can_be_joined_there(
    several: Several, nodes: Nodes
) -> None:
    process, chat = several.begin()
    _, other = several.begin()
    nodes.hold("two")
    with anyio.fail_after(20):
        run = await chat.start("begin")
        await nodes.at["two"].wait()
        await steer(other, "meanwhile", response=run.id)
        await until(lambda: run.is_steered)
        nodes.open()
        first, second = await line(chat, run.id)
    assert (first.response["incomplete_details"]["reason"], second.status) == ("steered", "completed")
    assert nodes.done == list(NODES)
    for record in (first, second):
        # The other process reads them from the store.
        events = await events_of(several.store, record.id)
        assert [one["sequence_number"] for one in events] == list(range(len(events)))
        assert events[-1]["response"] == record.response
    assert process.runs.activity.foreground == 0

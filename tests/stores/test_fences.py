"""Checkpoints of a run that another attempt has taken over."""

import asyncio
import signal
import sys
import textwrap
import time
from asyncio.subprocess import PIPE
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, empty_checkpoint
from langgraph.graph import StateGraph
from tests.stores.accepted import GONE, THERE, Accepted
from tests.stores.postgres_server import PostgresServer, postgres_server
from tests.stores.turns import ANN, Clock

from graph_agent.contract import AgentState
from graph_agent.errors import LeaseLost, StoreUnavailable
from graph_agent.stores.fence import NO_TASK
from graph_agent.stores.postgres_sign_in import UrlSignIn
from graph_agent.stores.postgres_store import PostgresStore
from graph_agent.stores.run_records import Right
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio

AT: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}

LOOP: CheckpointMetadata = {"source": "loop", "step": 1}


async def checkpoints(store: Store) -> int:
    return len([one async for one in store.checkpointer().alist(AT)])


async def test_an_attempt_that_was_taken_over_writes_no_checkpoint_any_more(store: Store, clock: Clock) -> None:
    before = await Accepted(store, clock).run("resp_1", busy_seconds=GONE)
    saver = store.checkpointer(before)
    place = await saver.aput(AT, empty_checkpoint(), LOOP, {})
    await saver.aput_writes(place, [("messages", "one")], "task 1")
    [claimed] = await Accepted(store, clock, THERE).claim()

    with pytest.raises(LeaseLost):
        await saver.aput(place, empty_checkpoint(), LOOP, {})
    with pytest.raises(LeaseLost):
        await saver.aput_writes(place, [("messages", "two")], "task 2")
    with pytest.raises(LeaseLost):
        await asyncio.to_thread(saver.put, place, empty_checkpoint(), LOOP, {})
    found = await saver.aget_tuple(AT)
    assert found is not None
    assert found.pending_writes == [("task 1", "messages", "one")]
    assert await checkpoints(store) == 1

    successor = store.checkpointer(claimed.right)
    await successor.aput_writes(place, [("messages", "two")], "task 2")
    await successor.aput(place, empty_checkpoint(), LOOP, {})
    assert await checkpoints(store) == 2


async def test_nothing_is_written_after_the_end_of_a_run(store: Store, clock: Clock) -> None:
    runs = Accepted(store, clock)
    right = await runs.run("resp_1")
    await runs.finish(right)
    with pytest.raises(LeaseLost):
        await store.checkpointer(right).aput(AT, empty_checkpoint(), LOOP, {})
    assert await checkpoints(store) == 0


async def test_a_graph_ends_at_the_step_after_which_it_was_taken_over(store: Store, clock: Clock) -> None:
    right = await Accepted(store, clock).run("resp_1", busy_seconds=GONE)
    told: list[str] = []

    async def first(state: AgentState) -> dict[str, Any]:
        told.append("first")
        return {"messages": [AIMessage("one")]}

    async def second(state: AgentState) -> dict[str, Any]:
        told.append("second")
        await Accepted(store, clock, THERE).claim()
        return {"messages": [AIMessage("two")]}

    async def third(state: AgentState) -> dict[str, Any]:
        told.append("third")
        return {}

    builder = StateGraph(AgentState).add_sequence([("first", first), ("second", second), ("third", third)])
    graph = builder.set_entry_point("first").compile().copy(update={"checkpointer": store.checkpointer(right)})
    with pytest.raises(LeaseLost):
        await graph.ainvoke({"messages": [HumanMessage("hi")]}, AT, durability="sync")
    assert told == ["first", "second"]
    reader = graph.copy(update={"checkpointer": store.checkpointer()})
    assert [one.text for one in (await reader.aget_state(AT)).values["messages"]] == ["hi", "one"]


async def crashes_after(store: Store, clock: Clock) -> int:
    [claimed] = await Accepted(store, clock).claim(busy_seconds=GONE)
    return claimed.crashes


async def test_earlier_crashes_do_not_count_once_the_run_has_come_further(store: Store, clock: Clock) -> None:
    await Accepted(store, clock).run("resp_1", busy_seconds=GONE)
    assert await crashes_after(store, clock) == 1
    attempt = 2

    def saver() -> Any:
        return store.checkpointer(Right(owner=ANN, response="resp_1", attempt=attempt))

    # The input is written at each attempt again.
    place = await saver().aput(AT, empty_checkpoint(), {"source": "input", "step": -1}, {})
    await saver().aput_writes(place, [("__resume__", True), ("messages", "hi")], NO_TASK)
    assert await crashes_after(store, clock) == 2
    attempt = 3
    await saver().aput_writes(place, [("messages", "one")], "task 1")
    assert await crashes_after(store, clock) == 1
    attempt = 4
    await saver().aput(place, empty_checkpoint(), LOOP, {})
    assert await crashes_after(store, clock) == 1


async def test_a_run_waits_with_its_checkpoints_for_a_database_that_is_started_again(clock: Clock) -> None:
    with postgres_server() as server:
        store = PostgresStore(lambda: UrlSignIn(server.url, {}), schema="restarted", clock=clock)
        await store.open()
        saver = store.checkpointer(await Accepted(store, clock).run("resp_1", busy_seconds=GONE))
        await asyncio.to_thread(server.stop)
        writing = asyncio.create_task(saver.aput(AT, empty_checkpoint(), LOOP, {}))
        done, _ = await asyncio.wait([writing], timeout=0.5)
        assert not done
        await asyncio.to_thread(server.start)
        await writing
        assert await checkpoints(store) == 1
        await asyncio.to_thread(server.stop)
        asked: list[asyncio.Task[Any]] = [
            asyncio.create_task(saver.aget_tuple(AT)),
            asyncio.create_task(saver.aget_delta_channel_history(config=AT, channels=["messages"])),
        ]
        # A reader without a run learns it soon.
        with pytest.raises(StoreUnavailable):
            await store.checkpointer().aget_tuple(AT)
        assert not any(one.done() for one in asked)
        await asyncio.to_thread(server.start)
        found, history = await asyncio.gather(*asked)
        assert found.checkpoint["id"]
        assert history["messages"]["writes"] == []
        await store.aclose()


STOPPING = textwrap.dedent("""
    import asyncio, os, signal, sys
    from graph_agent.errors import LeaseLost, StoreUnavailable
    from graph_agent.identity.owner import Owner
    from graph_agent.stores import postgres_database
    from graph_agent.stores.postgres_sign_in import UrlSignIn
    from graph_agent.stores.postgres_store import PostgresStore
    from graph_agent.stores.records import EndedResponse
    from graph_agent.stores.run_records import EventBatch, Right

    RIGHT = Right(owner=Owner("ann"), response="resp_1", attempt=1)
    EVENTS = EventBatch(right=RIGHT, first=0, events=(b"{}",))

    class Stopping(postgres_database.Statements):
        # Stops this process when its transaction has locked the row of the run.
        once = True

        async def rows(self, statement, parameters=()):
            return self.stop(statement, await super().rows(statement, parameters))

        async def run(self, statement, parameters=()):
            return self.stop(statement, await super().run(statement, parameters))

        def stop(self, statement, result):
            if Stopping.once and " runs " in statement and "attempt = ?" in statement:
                Stopping.once = False
                print("in the middle of a transaction", flush=True)
                os.kill(os.getpid(), signal.SIGSTOP)
            return result

    async def checkpoint(store):
        from langgraph.checkpoint.base import empty_checkpoint
        at = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        await store.checkpointer(RIGHT).aput(at, empty_checkpoint(), {"source": "loop", "step": 1}, {})

    async def finish(store):
        output = [{"id": f"out_{number}", "type": "message"} for number in range(3)]
        ended = EndedResponse(
            status="completed", response={"output": output}, checkpoint=None, right=RIGHT, events=EVENTS
        )
        await store.responses.finish(RIGHT.owner, RIGHT.response, ended)

    async def main(url, schema, what):
        store = PostgresStore(lambda: UrlSignIn(url, {}), schema=schema)
        await store.open()
        postgres_database.Statements = Stopping
        try:
            await {"checkpoint": checkpoint, "finish": finish}[what](store)
        except LeaseLost:
            print("lost", flush=True)
        print(*await store.runs.append([EVENTS]), flush=True)
        await store.aclose()

    asyncio.run(main(*sys.argv[1:]))
""")
"""A process that is stopped while it writes a checkpoint, or the end of a run."""


@pytest.mark.parametrize("what", ["checkpoint", "finish"])
async def test_a_process_that_is_stopped_in_a_transaction_is_taken_over_and_writes_nothing_when_it_goes_on(
    running_postgres: PostgresServer, clock: Clock, what: str
) -> None:
    schema = f"stopped_{what}"
    store = PostgresStore(lambda: UrlSignIn(running_postgres.url, {}), schema=schema, clock=clock)
    await store.open()
    await Accepted(store, clock).run("resp_1", busy_seconds=GONE)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOPPING, running_postgres.url, schema, what, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        assert (await process.stdout.readline()).decode() == "in the middle of a transaction\n"
        began = time.monotonic()
        [claimed] = await Accepted(store, clock, THERE).claim()
        assert claimed.attempt == 2
        assert time.monotonic() - began < 30
        process.send_signal(signal.SIGCONT)
        assert (await process.stdout.read()).decode() == "lost\nresp_1\n"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert await checkpoints(store) == 0
    assert await store.runs.events(ANN, "resp_1", after=-1, most=10) == []
    assert (await store.responses.get(ANN, "resp_1")).status == "in_progress"
    await store.aclose()

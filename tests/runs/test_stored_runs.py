"""Stored runs: what a turn remembers, what its record says, and when it is written."""

import asyncio
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState
from tests.runs.registered import ANN, OneGraph, a_request, rest, some_runs
from tests.runs.running import asking, chain
from tests.runs.stored import Chat, OpenBook, texts

from graph_agent.contract import AgentState
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES
from graph_agent.runs.request import RunRequest, Scope, Turn
from graph_agent.stores.records import Continuation
from graph_agent.stores.sqlite_store import MemoryStore, SqliteStore

pytestmark = pytest.mark.anyio


async def count(state: Any) -> dict[str, Any]:
    """Says what it was told so far."""
    said = [one.text for one in state["messages"] if one.type == "human"]
    return {"messages": [AIMessage(f"You said: {', '.join(said)}.")]}


# -- conversations ------------------------------------------------------------------------------------------------


async def test_the_second_turn_knows_the_first_and_sends_only_its_own_answer(store: MemoryStore) -> None:
    chat = Chat(chain(count), store)
    with anyio.fail_after(20):
        await chat.say("one")
        second = await chat.say("two")
    assert texts(second) == ["You said: one, two."]
    assert [one.text for one in await chat.state()] == ["one", "You said: one.", "two", "You said: one, two."]


@pytest.mark.parametrize("state", [MessagesState, AgentState])
async def test_an_earlier_response_can_be_continued_and_both_branches_go_on(state: Any, store: MemoryStore) -> None:
    chat = Chat(chain(count, state=state), store)
    with anyio.fail_after(20):
        await chat.say("one")
        first = chat.last
        await chat.say("two")
        old = chat.last
        await chat.say("other", after=first)
        new = chat.last
        assert texts(await chat.say("left", after=old)) == ["You said: one, two, left."]
        assert texts(await chat.say("right", after=new)) == ["You said: one, other, right."]
    assert len(await chat.state(old)) == 4


@pytest.mark.parametrize("state", [MessagesState, AgentState])
async def test_a_branch_at_the_root_starts_with_an_empty_state_and_is_continued(
    state: Any, open_book: OpenBook
) -> None:
    chat = Chat(chain(count, state=state), open_book)
    with anyio.fail_after(20):
        await chat.say("one")
        record = await chat.record()
        again = RunRequest(
            invocation=asking("anew"),
            dialect=RESPONSES,
            owner=ANN,
            accepted_at=time.time(),
            turn=Turn(
                continuation=Continuation(conversation=record.conversation, thread=record.thread),
                items=[{"id": "msg_anew", "type": "message", "role": "user", "content": "anew"}],
            ),
        )
        run = await chat.runs.start(again, Scope(), graphs=OneGraph(chat.graph), store=open_book)
        await run.ended()
        assert texts(await chat.say("on", after=run.id)) == ["You said: anew, on."]
        assert texts(await chat.say("more", after=record.id)) == ["You said: one, more."]
        assert texts(await chat.say("end", after=run.id)) == ["You said: anew, end."]


async def test_fifty_conversations_at_once_stay_apart(store: MemoryStore) -> None:
    chats = [Chat(chain(count), store) for _ in range(50)]

    async def talk(place: int, chat: Chat) -> None:
        for turn in range(3):
            await chat.say(f"{place}-{turn}")

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for place, chat in enumerate(chats):
                tasks.start_soon(talk, place, chat)
        for place, chat in enumerate(chats):
            said = [one.text for one in await chat.state() if one.type == "human"]
            assert said == [f"{place}-{turn}" for turn in range(3)]


async def test_many_conversations_go_back_and_forth_between_two_processes(tmp_path: Path) -> None:
    stores = [SqliteStore(tmp_path / "file") for _ in range(2)]
    runs = [some_runs(), some_runs()]
    for one in stores:
        await one.open()
    graph = chain(count, state=AgentState)

    async def talk(place: int) -> None:
        last = None
        for turn in range(4):
            at = (place + turn) % 2
            chat = Chat(graph, stores[at], runs=runs[at])
            chat.last = last
            said = ", ".join(f"{place}-{number}" for number in range(turn + 1))
            assert texts(await chat.say(f"{place}-{turn}")) == [f"You said: {said}."]
            last = chat.last

    try:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for place in range(20):
                    tasks.start_soon(talk, place)
    finally:
        for one in stores:
            await one.aclose()


async def test_a_run_without_a_turn_stores_nothing(open_book: OpenBook) -> None:
    chat = Chat(chain(count), open_book)
    with anyio.fail_after(20):
        run = await chat.runs.start(a_request(), Scope(), graphs=OneGraph(chat.graph), store=open_book)
        events = [entry.event for entry in await rest(chat.runs.read(run))]
    assert events[-1]["response"]["store"] is False
    assert "thread_id" not in str(events)
    assert not open_book.saver.storage


# -- the record ---------------------------------------------------------------------------------------------------


async def test_the_record_is_written_before_the_terminal_event_is_sent(store: MemoryStore) -> None:
    chat = Chat(chain(count), store)
    statuses = []
    with anyio.fail_after(20):
        run = await chat.start("one")
        assert (await chat.record()).status == "in_progress"
        async for batch in run.batches(quiet_seconds=5):
            statuses += [(await chat.record()).status for entry in batch if entry.type == "response.completed"]
    assert statuses == ["completed"]


@pytest.mark.parametrize("dialect", [INVOCATIONS, RESPONSES, OPENAI], ids=["invocations", "responses", "openai"])
async def test_the_record_holds_the_response_that_the_client_got(dialect: Any, store: MemoryStore) -> None:
    chat = Chat(chain(count), store, dialect=dialect)
    with anyio.fail_after(20):
        first = await chat.say("one")
        parent = chat.last
        events = await chat.say("two", metadata={"mine": "kept"})
        record = await chat.record()
    response = events[-1]["response"]
    assert record.status == "completed"
    assert record.response == response
    assert [item["content"] for item in record.input] == ["two"]
    assert record.fingerprints is not None
    assert first[0]["response"]["previous_response_id"] is None
    name = record.conversation
    for said in (events[0]["response"], response):
        assert said["store"] is True
        assert said["previous_response_id"] == parent
        assert said["custom_outputs"]["thread_id"] == name
        assert said["metadata"] == {"mine": "kept", "conversation_id": name}
        assert said.get("conversation") == ({"id": name} if dialect is OPENAI else None)


async def test_a_failed_first_turn_is_continued_by_a_second(store: MemoryStore) -> None:
    fails = [True]

    async def stumble(state: MessagesState) -> dict[str, Any]:
        if fails.pop() if fails else False:
            raise RuntimeError("password=hunter2")
        return await count(state)

    chat = Chat(chain(stumble), store)
    with anyio.fail_after(20):
        first = await chat.say("one")
        record = await chat.record()
        assert first[-1]["response"]["error"]["code"] == "graph_failed"
        assert (record.status, record.response) == ("failed", first[-1]["response"])
        assert texts(await chat.say("two")) == ["You said: one, two."]


async def test_a_failed_run_of_invocations_is_recorded_though_its_stream_has_no_response(store: MemoryStore) -> None:
    async def fail(state: MessagesState) -> dict[str, Any]:
        raise RuntimeError

    chat = Chat(chain(fail), store, dialect=INVOCATIONS)
    with anyio.fail_after(20):
        events = await chat.say("one")
        record = await chat.record()
    assert events[-1]["code"] == "graph_failed"
    assert record.response is not None
    assert record.response["status"] == record.status == "failed"
    assert record.response["error"]["code"] == "graph_failed"


async def test_a_cancelled_run_is_recorded_and_continued(store: MemoryStore) -> None:
    waiting = asyncio.Event()

    async def wait(state: MessagesState) -> dict[str, Any]:
        if len(state["messages"]) == 1:
            waiting.set()
            await asyncio.Event().wait()
        return await count(state)

    chat = Chat(chain(wait), store)
    with anyio.fail_after(20):
        run = await chat.start("one")
        reader = chat.runs.read(run)
        await waiting.wait()
        await reader.leave()
        record = await chat.record()
        assert record.status == "cancelled"
        assert (await rest(run.batches(quiet_seconds=5)))[-1].event["response"] == record.response
        assert texts(await chat.say("two")) == ["You said: one, two."]


async def test_a_run_that_is_cancelled_before_its_first_step_is_recorded_too(store: MemoryStore) -> None:
    chat = Chat(chain(count), store)
    with anyio.fail_after(20):
        run = await chat.start("one")
        await chat.runs.read(run).leave()
        record = await chat.record()
        assert (record.status, record.checkpoint) == ("cancelled", None)
        assert texts(await chat.say("two")) == ["You said: one, two."]


async def test_the_end_of_the_process_records_what_it_ends(store: MemoryStore) -> None:
    waiting = asyncio.Event()

    async def wait(state: MessagesState) -> dict[str, Any]:
        waiting.set()
        await asyncio.Event().wait()
        return {}

    chat = Chat(chain(wait), store)
    with anyio.fail_after(20):
        run = await chat.start("one")
        reading = asyncio.create_task(rest(chat.runs.read(run)))
        await waiting.wait()
        await chat.runs.end(within_seconds=10)
        record = await chat.record()
        seen = await reading
    assert record.status == "failed"
    assert seen[-1].event["response"] == record.response
    assert record.response["error"]["code"] == "service_stopping"

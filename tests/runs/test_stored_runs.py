"""Stored runs: what a turn remembers, what its record says, and when."""

import asyncio
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState
from tests.runs.registered import rest
from tests.runs.running import chain
from tests.runs.stored import Chat

from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES

pytestmark = pytest.mark.anyio


async def count(state: MessagesState) -> dict[str, Any]:
    """Says how much it was told so far."""
    said = [one.text for one in state["messages"] if one.type == "human"]
    return {"messages": [AIMessage(f"You said: {', '.join(said)}.")]}


def text(events: list[dict[str, Any]]) -> str:
    response = events[-1]["response"]
    return "".join(item["content"][0]["text"] for item in response["output"] if item["type"] == "message")


async def test_the_second_turn_knows_the_first_and_sends_only_its_own_answer() -> None:
    chat = Chat(chain(count))
    with anyio.fail_after(20):
        await chat.say("one")
        second = await chat.say("two")
    assert text(second) == "You said: one, two."
    assert [one.text for one in await chat.state()] == ["one", "You said: one.", "two", "You said: one, two."]


async def test_an_earlier_response_can_be_continued_and_both_branches_go_on() -> None:
    chat = Chat(chain(count))
    with anyio.fail_after(20):
        await chat.say("one")
        first = chat.last
        await chat.say("two")
        old = chat.last
        await chat.say("other", after=first)
        new = chat.last
        assert text(await chat.say("left", after=old)) == "You said: one, two, left."
        assert text(await chat.say("right", after=new)) == "You said: one, other, right."
        assert text(await chat.say("anew", fresh=True)) == "You said: anew."
        assert text(await chat.say("on")) == "You said: anew, on."
    assert len(await chat.state(old)) == 4


async def test_the_record_is_written_before_the_terminal_event_is_sent() -> None:
    chat = Chat(chain(count))
    with anyio.fail_after(20):
        run = await chat.start("one")
        async for batch in run.batches(quiet_seconds=5):
            if any(entry.type == "response.completed" for entry in batch):
                assert chat.record().ended is not None
    assert chat.store.responses.calls == ["begin", "finish"]


@pytest.mark.parametrize("dialect", [INVOCATIONS, RESPONSES, OPENAI], ids=["invocations", "responses", "openai"])
async def test_the_record_holds_the_response_that_the_client_got(dialect: Any) -> None:
    chat = Chat(chain(count), dialect=dialect)
    with anyio.fail_after(20):
        first = await chat.say("one")
        parent = chat.last
        events = await chat.say("two", metadata={"mine": "kept"})
    response = events[-1]["response"]
    ended = chat.record().ended
    assert ended is not None
    assert ended.status == "completed"
    assert ended.response == response
    assert first[0]["response"]["previous_response_id"] is None
    for said in (events[0]["response"], response):
        assert said["store"] is True
        assert said["previous_response_id"] == parent
        assert said["custom_outputs"]["thread_id"] == "conv_1"
        assert said["metadata"] == {"mine": "kept", "conversation_id": "conv_1"}
        assert said.get("conversation") == ({"id": "conv_1"} if dialect is OPENAI else None)


async def test_a_failed_first_turn_is_continued_by_a_second() -> None:
    fails = [True]

    async def stumble(state: MessagesState) -> dict[str, Any]:
        if fails.pop() if fails else False:
            raise RuntimeError("password=hunter2")
        return await count(state)

    chat = Chat(chain(stumble))
    with anyio.fail_after(20):
        first = await chat.say("one")
        ended = chat.record().ended
        assert first[-1]["response"]["error"]["code"] == "graph_failed"
        assert ended is not None
        assert (ended.status, ended.response) == ("failed", first[-1]["response"])
        assert text(await chat.say("two")) == "You said: one, two."


async def test_a_failed_run_of_invocations_is_recorded_though_its_stream_has_no_response() -> None:
    async def fail(state: MessagesState) -> dict[str, Any]:
        raise RuntimeError

    chat = Chat(chain(fail), dialect=INVOCATIONS)
    with anyio.fail_after(20):
        events = await chat.say("one")
    ended = chat.record().ended
    assert events[-1]["code"] == "graph_failed"
    assert ended is not None
    assert ended.response["status"] == "failed"
    assert ended.response["error"]["code"] == "graph_failed"


async def test_a_cancelled_run_is_recorded_and_continued() -> None:
    waiting = asyncio.Event()

    async def wait(state: MessagesState) -> dict[str, Any]:
        if len(state["messages"]) == 1:
            waiting.set()
            await asyncio.sleep(60)
        return await count(state)

    chat = Chat(chain(wait))
    with anyio.fail_after(20):
        run = await chat.start("one")
        reader = chat.runs.read(run)
        await waiting.wait()
        await reader.leave()
        ended = chat.record().ended
        assert ended is not None
        assert ended.status == "cancelled"
        assert (await rest(run.batches(quiet_seconds=5)))[-1].event["response"] == ended.response
        assert text(await chat.say("two")) == "You said: one, two."

"""The scripted chat model, as a test of somebody's graph uses it."""

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from graph_agent.testing import (
    BadScript,
    Blocks,
    Call,
    Finish,
    Reasoning,
    ScriptedChatModel,
    ScriptExhausted,
    Usage,
    Wait,
)

pytestmark = pytest.mark.anyio


@tool
def temperature(city: str) -> str:
    """The temperature in a city."""
    return f"21 degrees in {city}"


class Verdict(BaseModel):
    """Whether."""

    safe: bool


async def test_replies_come_in_order_one_for_each_call() -> None:
    model = ScriptedChatModel("One.", "Two.")
    assert [(await model.ainvoke("?")).text, model.invoke("?").text] == ["One.", "Two."]


async def test_a_list_is_one_reply_in_chunks_streamed_and_whole_in_both_ways() -> None:
    model = ScriptedChatModel(["It ", "is ", "8000."], each_turn=True)
    assert [one.text async for one in model.astream("?") if one.text] == ["It ", "is ", "8000."]
    assert [one.text for one in model.stream("?") if one.text] == ["It ", "is ", "8000."]
    assert (await model.ainvoke("?")).text == model.invoke("?").text == "It is 8000."


async def test_an_endpoint_that_does_not_stream_gives_one_piece() -> None:
    model = ScriptedChatModel(["It ", "is."], disable_streaming=True)
    assert [one.text async for one in model.astream("?")] == ["It is."]


@pytest.mark.parametrize(
    ("call", "chunks"),
    [
        (Call("temperature", {"city": "Rome"}), ['{"city": "Rome"}']),
        (Call("temperature", '{"city": "Rome"}'), ['{"city": "Rome"}']),
        (Call("temperature", ['{"city"', ': "Rome"}']), ['{"city"', ': "Rome"}']),
    ],
    ids=["mapping", "text", "chunks"],
)
async def test_a_call_is_told_in_the_chunks_it_is_written_in(call: Call, chunks: list[str]) -> None:
    model = ScriptedChatModel([call], each_turn=True)
    streamed = [piece async for one in model.astream("?") for piece in one.tool_call_chunks]
    assert [piece["args"] for piece in streamed] == chunks
    (made,) = (await model.ainvoke("?")).tool_calls
    assert (made["name"], made["args"], made["id"]) == ("temperature", {"city": "Rome"}, "call_1")


async def test_calls_are_numbered_through_a_conversation_unless_they_have_ids() -> None:
    model = ScriptedChatModel([Call("a"), Call("b", id="mine")], Call("c"))
    first = await model.ainvoke("?")
    second = await model.ainvoke([HumanMessage("?"), first])
    assert [one["id"] for one in [*first.tool_calls, *second.tool_calls]] == ["call_1", "mine", "call_3"]


async def test_broken_arguments_are_an_invalid_call() -> None:
    answer = await ScriptedChatModel(Call("a", "broken")).ainvoke("?")
    assert [(one["name"], one["args"]) for one in answer.invalid_tool_calls] == [("a", "broken")]


async def test_usage_reasoning_blocks_and_how_it_ended_are_pieces() -> None:
    block = {"type": "text", "text": "Hi."}
    usage = Usage(5, 4, cached=2, reasoning=1)
    answer = await ScriptedChatModel([Reasoning("Hm."), Blocks(block), usage, Finish("length", model="m")]).ainvoke("?")
    assert answer.additional_kwargs["reasoning_content"] == "Hm."
    assert answer.content == [block]
    assert answer.response_metadata == {"finish_reason": "length", "model": "m"}
    assert answer.usage_metadata == {
        "input_tokens": 5,
        "output_tokens": 4,
        "total_tokens": 9,
        "input_token_details": {"cache_read": 2},
        "output_token_details": {"reasoning": 1},
    }


async def test_tokens_are_counted_unless_the_endpoint_counts_none() -> None:
    counted, silent = ScriptedChatModel("Hi."), ScriptedChatModel("Hi.", usage=None)
    usage = (await counted.ainvoke("?")).usage_metadata
    assert usage is not None
    assert usage["total_tokens"] == 10
    assert (await silent.ainvoke("?")).usage_metadata is None


@pytest.mark.parametrize("kind", [AIMessage, AIMessageChunk])
async def test_a_message_of_langchain_is_a_reply_as_it_is(kind: Any) -> None:
    call = {"name": "a", "args": {"x": 1}, "id": "c9", "type": "tool_call"}
    answer = await ScriptedChatModel(kind("Hi.", id="m1", tool_calls=[call])).ainvoke("?")
    assert (answer.text, answer.id, answer.tool_calls) == ("Hi.", "m1", [call])


async def test_an_exception_breaks_the_reply_off() -> None:
    chunks = ScriptedChatModel(["It ", ConnectionError("gone")]).astream("?")
    assert (await anext(chunks)).text == "It "
    with pytest.raises(ConnectionError, match="gone"):
        await anext(chunks)


async def test_a_pause_lasts_until_the_test_ends_it() -> None:
    reached, until = asyncio.Event(), asyncio.Event()
    model = ScriptedChatModel([Wait(until, reached), "Now."])
    asking = asyncio.create_task(model.ainvoke("?"))
    await reached.wait()
    assert not asking.done()
    until.set()
    assert (await asking).text == "Now."


async def test_a_pause_without_an_end_lasts_until_the_call_is_cancelled() -> None:
    reached = asyncio.Event()
    asking = asyncio.create_task(ScriptedChatModel([Wait(reached=reached)]).ainvoke("?"))
    await reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_a_pause_of_threads_holds_both_kinds_of_calls() -> None:
    reached, until = threading.Event(), threading.Event()
    model = ScriptedChatModel([Wait(until, reached), "Now."], each_turn=True)
    for ask in (lambda: asyncio.to_thread(model.invoke, "?"), lambda: model.ainvoke("?")):
        asking = asyncio.ensure_future(ask())
        await asyncio.to_thread(reached.wait)
        until.set()
        assert (await asking).text == "Now."
        reached.clear()
        until.clear()


@pytest.mark.parametrize("until", [None, asyncio.Event()])
def test_a_synchronous_call_says_what_it_can_wait_for(until: Any) -> None:
    with pytest.raises(BadScript, match=r"threading\.Event"):
        ScriptedChatModel([Wait(until)]).invoke("?")


async def test_what_the_model_was_asked_is_recorded() -> None:
    model = ScriptedChatModel("Hi.")
    await model.bind_tools([temperature], tool_choice="any").ainvoke("Which city?", stop=["x"])
    (request,) = model.requests
    assert (request.texts, request.tool_names) == (["Which city?"], ["temperature"])
    assert (request.options["tool_choice"], request.options["stop"]) == ("any", ["x"])
    assert request.tools[0]["function"]["parameters"]["required"] == ["city"]


async def test_a_structured_answer_is_the_object_itself() -> None:
    model = ScriptedChatModel(Verdict(safe=True), Call("Verdict", {"safe": False}))
    judge = model.with_structured_output(Verdict)
    assert [await judge.ainvoke("?"), await judge.ainvoke("?")] == [Verdict(safe=True), Verdict(safe=False)]


async def test_a_function_makes_replies_from_the_messages() -> None:
    model = ScriptedChatModel(lambda messages: [messages[-1].text, "!"])
    assert [(await model.ainvoke(word)).text for word in ("a", "b")] == ["a!", "b!"]


async def test_a_script_of_each_turn_serves_many_conversations_at_the_same_time() -> None:
    async def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def work(state: MessagesState) -> dict[str, Any]:
        return {"messages": [ToolMessage("done", tool_call_id=state["messages"][-1].tool_calls[0]["id"])]}

    def way(state: MessagesState) -> str:
        return "work" if state["messages"][-1].tool_calls else "__end__"

    model = ScriptedChatModel(Call("work"), "Done.", each_turn=True)
    builder = StateGraph(MessagesState).add_node("speak", speak).add_node("work", work).add_edge(START, "speak")
    graph = builder.add_conditional_edges("speak", way).add_edge("work", "speak").compile()
    ended = await asyncio.gather(*(graph.ainvoke({"messages": [("user", "Go")]}) for _ in range(20)))
    assert {state["messages"][-1].text for state in ended} == {"Done."}


async def test_an_exhausted_script_says_what_was_asked_and_how_many_replies_it_had() -> None:
    model = ScriptedChatModel("One.", "Two.")
    await model.ainvoke("?")
    await model.ainvoke("?")
    with pytest.raises(ScriptExhausted) as raised:
        await model.bind_tools([temperature]).ainvoke("And in Rome?")
    assert raised.value.message == (
        "the script has 2 replies, and the model was called 3 times; the last call asked: human message "
        "'And in Rome?', the last of 1; tools bound: temperature. Add a reply, or pass `each_turn=True` to "
        "restart the script with each user message"
    )


async def test_a_wrong_script_is_told() -> None:
    with pytest.raises(BadScript, match="at least one reply"):
        ScriptedChatModel()
    with pytest.raises(BadScript, match="a reply contains a int; use texts, Call"):
        await ScriptedChatModel(["Hi ", 3]).ainvoke("?")

"""Calls of the client in background runs whose process dies, beside a tool and an approval of the graph."""

import asyncio
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from tests.runs.background import Process, check_log, events_of, record_when_ended
from tests.runs.stored import Chat

from graph_agent import AgentState, make_planner, make_tools, requested_nodes
from graph_agent.protocol.dialects import OPENAI, RESPONSES, Dialect
from graph_agent.testing import Call, ScriptedChatModel, Wait

pytestmark = pytest.mark.anyio

TOOLS = [{"type": "function", "name": "weather"}, {"type": "custom", "name": "sql"}]
CALLS = [
    "Let me see.",
    Call("weather", '{"city":"Rome"}', id="c1"),
    Call("look", {"at": "it"}, id="c2"),
    Call("sql", {"input": "select 1"}, id="c3"),
]
OUTPUTS = [
    {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    {"type": "custom_tool_call_output", "call_id": "c3", "output": "1"},
]


class Held:
    """A graph that stops in its model or in its tool until it is let go."""

    def __init__(self, *replies: Any, approve: bool = False) -> None:
        self.at, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.looked: list[str] = []
        self.model = ScriptedChatModel(*replies, each_turn=True)

        @tool
        async def look(at: str) -> str:
            """Look at something."""
            self.at.set()
            await self.gate.wait()
            self.looked.append(at)
            return f"saw {at}"

        builder = StateGraph(AgentState)
        builder.add_node("planner", make_planner(model=self.model, tools=[look], prompt="Help."))
        builder.add_node("tools", make_tools([look], approve=["look"] if approve else []))
        builder.add_edge(START, "planner").add_edge("tools", "planner")
        builder.add_conditional_edges("planner", requested_nodes("none"), ["tools", END])
        self.graph = builder.compile()

    async def is_held(self) -> None:
        async with asyncio.timeout(20):
            await self.at.wait()


async def is_told(store: Any, response_id: str, words: str) -> None:
    """Wait until the store has an event with these words: what was told is committed a little later."""
    async with asyncio.timeout(20):
        while words not in str(await events_of(store, response_id)):  # noqa: ASYNC110 - of the store
            await asyncio.sleep(0.01)


def calls_of(record: Any) -> list[tuple[str, str, str]]:
    """The calls of the client in the response."""
    kinds = ("function_call", "custom_tool_call")
    found = (one for one in record.response["output"] if one["type"] in kinds and one["name"] != "look")
    return [(one["call_id"], one["status"], one.get("arguments") or one.get("input")) for one in found]


ASKED = [("c1", "completed", '{"city":"Rome"}'), ("c3", "completed", "select 1")]
DIALECTS = pytest.mark.parametrize("dialect", [OPENAI, RESPONSES])


@DIALECTS
async def test_calls_that_were_sent_before_a_crash_stand_and_are_answered_after_it(
    store: Any, dialect: Dialect
) -> None:
    held = Held(CALLS, "All done.")
    held.gate.clear()
    chat = Chat(None, store, dialect=dialect)
    first = Process(store, held.graph).begin()
    run = await first.submit("Go.", chat=chat, tools=TOOLS)
    await held.is_held()
    await is_told(store, run, "'c3'")
    await first.kill()
    held.gate.set()

    second = Process(store, held.graph).begin()
    record = await record_when_ended(store, run)
    assert record.status == "completed"
    assert calls_of(record) == ASKED
    assert held.looked == ["it"]
    assert len(held.model.requests) == 1
    events = await events_of(store, run)
    check_log(events, record)
    added = (one["item"] for one in events if one["type"] == "response.output_item.added")
    opened = [item.get("call_id") for item in added]
    assert opened.count("c1") == opened.count("c3") == 1

    chat.last = run
    answered = await second.submit(OUTPUTS, chat=chat)
    record = await record_when_ended(store, answered)
    assert record.response["output"][-1]["content"][0]["text"] == "All done."
    await second.aclose()


@DIALECTS
async def test_a_call_that_the_crash_cut_off_is_written_again(store: Any, dialect: Dialect) -> None:
    at = asyncio.Event()
    held = Held([Call("weather", ['{"city":', '"Rome"}'], id="c1"), Wait(None, at)], "All done.")
    first = Process(store, held.graph).begin()
    run = await first.submit("Go.", chat=Chat(None, store, dialect=dialect), tools=TOOLS)
    async with asyncio.timeout(20):
        await at.wait()
    await is_told(store, run, "arguments.delta")
    await first.kill()

    again = Held([Call("weather", {"city": "Rome"}, id="c9")])
    second = Process(store, again.graph).begin()
    record = await record_when_ended(store, run)
    assert calls_of(record) == [("c9", "completed", '{"city": "Rome"}')]
    await second.aclose()


@DIALECTS
async def test_an_approval_and_calls_of_the_client_outlive_a_crash(store: Any, dialect: Dialect) -> None:
    held = Held(CALLS, "All done.", approve=True)
    chat = Chat(None, store, dialect=dialect)
    first = Process(store, held.graph).begin()
    run = await first.submit("Go.", chat=chat, tools=TOOLS)
    record = await record_when_ended(store, run)
    assert calls_of(record) == ASKED
    [asked] = [one for one in record.response["output"] if one["type"] == "mcp_approval_request"]

    held.gate.clear()
    chat.last = run
    decision = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": True}
    run = await first.submit([OUTPUTS[0], decision], chat=chat)
    await held.is_held()
    await first.kill()
    held.gate.set()

    second = Process(store, held.graph).begin()
    record = await record_when_ended(store, run)
    assert record.status == "completed"
    assert calls_of(record) == ASKED[1:]
    assert held.looked == ["it"]
    results = [one for one in record.response["output"] if one["type"] in ("mcp_call", "function_call_output")]
    assert [one["output"] for one in results] == ["saw it"]

    chat.last = run
    run = await second.submit(OUTPUTS[1:], chat=chat)
    record = await record_when_ended(store, run)
    assert record.response["output"][-1]["content"][0]["text"] == "All done."
    assert sorted(one.text for one in held.model.requests[-1].messages if one.type == "tool") == [
        "1",
        "saw it",
        "sunny",
    ]
    await second.aclose()

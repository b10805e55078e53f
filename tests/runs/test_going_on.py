"""A run goes on from any of LangGraph's own checkpoints, behind a log that stops anywhere."""

import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from tests.graphs.scripted import says
from tests.protocol.test_restoring import check, lasting
from tests.runs.running import Graph, speaking

from graph_agent.protocol.dialects import OPENAI, RESPONSES, Dialect
from graph_agent.protocol.events import Event, ResponseHead, Usage
from graph_agent.protocol.translator import STREAM_MODES, Translator
from graph_agent.runs.monitor import RunMonitor
from graph_agent.settings import Budgets
from graph_agent.testing import Call

pytestmark = pytest.mark.anyio

ASKED = HumanMessage("Where to?", id="asked")


@tool
def look(city: str) -> str:
    """Look a city up."""
    return f"facts on {city}"


def an_agent() -> Graph:
    turns = (
        ["Let me ", "look.", Call("look", '{"city": "Rome"}', "a"), Call("look", '{"city": "Oslo"}', "b")],
        ["More.", Call("look", '{"city": "Rome"}', "a")],
        ["It is ", "done."],
    )
    builder = StateGraph(MessagesState)
    builder.add_node("agent", speaking(says(*turns), "agent"))
    builder.add_node("tools", ToolNode([look]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(checkpointer=InMemorySaver())


async def log_of(translator: Translator, parts: Any) -> list[Event]:
    log: list[Event] = []

    def keep(events: Iterable[Event]) -> None:
        log.extend(json.loads(json.dumps(event)) for event in events)

    keep(translator.start())
    async for ns, kind, data in parts:
        keep(translator.feed({"type": kind, "ns": ns, "data": data}))
    keep(translator.finish(Usage()))
    return log


async def nothing() -> Any:
    for part in ():
        yield part


@pytest.mark.parametrize("dialect", [RESPONSES, OPENAI], ids=["responses", "openai"])
async def test_a_run_goes_on_from_any_checkpoint_behind_any_log(dialect: Dialect) -> None:
    graph, options = an_agent(), {"dialect": dialect, "head": ResponseHead(model="m"), "known": [ASKED]}

    def parts(given: Any, config: Any) -> Any:
        config = {**config, "callbacks": [RunMonitor(Budgets(seconds=60.0))]}
        return graph.astream(given, config, stream_mode=STREAM_MODES, subgraphs=True, durability="sync")

    thread = {"configurable": {"thread_id": "1"}}
    log = await log_of(Translator(**options), parts({"messages": [ASKED]}, thread))
    check(log)
    checkpoints = [one async for one in graph.aget_state_history(thread) if one.values.get("messages")]
    assert len(checkpoints) == 6
    for place, saved in enumerate(checkpoints):
        # Every third place, another third for each checkpoint: all of them take half a minute.
        for cut in range(place % 3, len(log), 3):
            translator = Translator.restored(copy.deepcopy(log[:cut]), state=copy.deepcopy(saved.values), **options)
            rest = await log_of(translator, parts(None, saved.config) if saved.next else nothing())
            check(log[:cut] + rest)
            assert lasting(rest[-1]["response"]["output"]) == lasting(log[-1]["response"]["output"]), (place, cut)

"""Routers that only look at the state decide on the event loop, and all others in a thread."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import tools_condition

from graph_agent.catalog.built_graphs import BuiltGraphs
from graph_agent.nodes.planner import requested_nodes
from graph_agent.quick_routers import quick

pytestmark = pytest.mark.anyio


class NoThreads(ThreadPoolExecutor):
    """An executor that counts what it is given."""

    count = 0

    def submit(self, *given: Any, **named: Any) -> Any:
        self.count += 1
        return super().submit(*given, **named)


async def say(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Done.")]}


def ending_by(router: Callable[..., Any]) -> StateGraph[Any, Any, Any, Any]:
    """A graph that ends where its router says so."""
    builder = StateGraph(MessagesState)
    builder.add_node("say", say)
    builder.add_node("tools", say)
    builder.add_node("retriever", say)
    builder.add_edge(START, "say")
    builder.add_conditional_edges("say", router, ["tools", "retriever", END])
    return builder


def within(builder: StateGraph[Any, Any, Any, Any]) -> StateGraph[Any, Any, Any, Any]:
    """A graph of which that one is a node."""
    outer = StateGraph(MessagesState)
    outer.add_node("inner", builder.compile())
    outer.add_edge(START, "inner")
    return outer


async def answered(builder: StateGraph[Any, Any, Any, Any]) -> int:
    """How much is left to threads while the graph answers as it is served."""
    graph = await BuiltGraphs({"one": builder.compile()}).get("one")
    with NoThreads() as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        state = await graph.ainvoke({"messages": ["Hello?"]})
    assert state["messages"][-1].text == "Done."
    return threads.count


@pytest.mark.parametrize("router", [tools_condition, requested_nodes("search")])
@pytest.mark.parametrize("outside", [lambda builder: builder, within], ids=["alone", "within"])
async def test_a_quick_router_needs_no_thread(router: Callable[..., Any], outside: Callable[..., Any]) -> None:
    assert await answered(outside(ending_by(router))) == 0


async def test_any_other_router_may_wait_in_a_thread_as_before() -> None:
    where = []

    def slowly(state: MessagesState) -> str:
        where.append(threading.current_thread())
        return END

    assert await answered(ending_by(slowly)) == 1
    assert where != [threading.current_thread()]


async def test_a_function_that_wraps_a_quick_router_may_wait_in_a_thread() -> None:
    """The decorator copies the attributes of what it wraps, and the wrapper may ask a server before."""
    where = []
    decides = requested_nodes("search")

    @wraps(decides)
    def slowly(state: MessagesState) -> Any:
        where.append(threading.current_thread())
        return decides(state)  # type: ignore[arg-type]

    assert await answered(ending_by(slowly)) == 1
    assert where != [threading.current_thread()]


def test_a_graph_with_quick_routers_runs_without_an_event_loop_as_before() -> None:
    @quick
    def ends(state: MessagesState) -> str:
        return END

    def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("Done.")]}

    builder = StateGraph(MessagesState)
    builder.add_node("say", speak)
    builder.add_edge(START, "say")
    builder.add_conditional_edges("say", ends, [END])
    graph = builder.compile()
    BuiltGraphs({"one": graph})
    assert graph.invoke({"messages": ["Hello?"]})["messages"][-1].text == "Done."

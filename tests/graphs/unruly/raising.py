"""Raises what is not an `Exception`, where it is told to; each holds a password."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime

PASSWORD = "hunter2-5f0c"


class Own(BaseException):
    """Of the graph's author."""


RAISED = {
    "interrupt": lambda: KeyboardInterrupt(PASSWORD),
    "exit": lambda: SystemExit(0),
    "generator": lambda: GeneratorExit(PASSWORD),
    "own": lambda: Own(PASSWORD),
    "group": lambda: BaseExceptionGroup(PASSWORD, [KeyboardInterrupt(PASSWORD), ValueError(PASSWORD)]),
    "cancelled": lambda: asyncio.CancelledError(PASSWORD),
}

PLACES = ("async", "sync", "tool", "async_tool", "subgraph", "callback", "edge", "left")


@dataclass
class Context:
    what: str
    where: Literal["async", "sync", "tool", "async_tool", "subgraph", "callback", "edge", "left", "late"]


@tool
def raise_in_tool(what: str) -> str:
    """Raise."""
    raise RAISED[what]()


@tool
async def raise_in_async_tool(what: str) -> str:
    """Raise."""
    raise RAISED[what]()


class Raising(BaseCallbackHandler):
    run_inline = True

    def __init__(self, what: str) -> None:
        self.what = what

    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        raise RAISED[self.what]()


async def begin(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    name = {"tool": "raise_in_tool", "async_tool": "raise_in_async_tool"}.get(runtime.context.where)
    calls = [{"name": name, "args": {"what": runtime.context.what}, "id": "call_1"}] if name else []
    return {"messages": [AIMessage("Looking.", tool_calls=calls)]}


async def in_async(state: MessagesState, runtime: Runtime[Context]) -> None:
    raise RAISED[runtime.context.what]()


def in_sync(state: MessagesState, runtime: Runtime[Context]) -> None:
    raise RAISED[runtime.context.what]()


async def in_callback(state: MessagesState, runtime: Runtime[Context], config: RunnableConfig) -> None:
    await RunnableLambda(lambda _: None).ainvoke(None, {"callbacks": [Raising(runtime.context.what)]})


async def in_left(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    async def later() -> None:
        raise RAISED[runtime.context.what]()

    left.append(asyncio.create_task(later()))
    await asyncio.sleep(0)
    return {"messages": [("ai", "Left it.")]}


async def in_late(state: MessagesState, runtime: Runtime[Context]) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise RAISED[runtime.context.what]() from None


def in_edge(state: MessagesState, runtime: Runtime[Context]) -> str:
    raise RAISED[runtime.context.what]()


left: list[Any] = []

inner = StateGraph(MessagesState, context_schema=Context).add_node("deep", in_async).add_edge(START, "deep").compile()

builder = StateGraph(MessagesState, context_schema=Context)
builder.add_node("begin", begin)
builder.add_node("async", in_async)
builder.add_node("sync", in_sync)
builder.add_node("tools", ToolNode([raise_in_tool, raise_in_async_tool]))
builder.add_node("subgraph", inner)
builder.add_node("callback", in_callback)
builder.add_node("left", in_left)
builder.add_node("late", in_late)
builder.add_node("edge", lambda state: None)
builder.add_conditional_edges("edge", in_edge, [END])
builder.add_edge(START, "begin")


def way(state: MessagesState, runtime: Runtime[Context]) -> str:
    return "tools" if runtime.context.where in ("tool", "async_tool") else runtime.context.where


builder.add_conditional_edges("begin", way, ["async", "sync", "tools", "subgraph", "callback", "left", "late", "edge"])
graph = builder.compile()

"""Fails where it is told to; every exception holds a password."""

import sys
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from scripted import says

from graph_agent.testing import Call, ScriptedChatModel

PASSWORD = "hunter2-5f0c"


class Unreachable(Exception):
    """A driver's exception: its message names the connection."""


@dataclass
class Context:
    fail: Literal["before", "after", "model", "tool", "interrupt", "late", "exit"]


MODELS: dict[str, ScriptedChatModel] = {
    "after": says(["Hello ", "wor"]),
    "model": says(["Hello ", RuntimeError(f"401 for key {PASSWORD}")]),
    "tool": says(["Looking.", Call("look")]),
    "late": says(["Hello ", "world."]),
}


@tool
def look() -> str:
    """Fail."""
    raise Unreachable(f"postgres://me:{PASSWORD}@db")


async def answer(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    where = runtime.context.fail
    if where == "before":
        raise Unreachable(f"postgres://me:{PASSWORD}@db")
    if where == "exit":
        sys.exit(PASSWORD)
    if where == "interrupt":
        interrupt({"question": PASSWORD})
    said = await MODELS[where].ainvoke(state["messages"])
    if where == "after":
        raise Unreachable(f"postgres://me:{PASSWORD}@db") from ValueError(PASSWORD)
    return {"messages": [said]}


def check(state: MessagesState) -> None:
    raise Unreachable(f"postgres://me:{PASSWORD}@db")


builder = StateGraph(MessagesState, context_schema=Context)
builder.add_node("answer", answer)
builder.add_node("tools", ToolNode([look], handle_tool_errors=False))
builder.add_node("check", check)
builder.add_edge(START, "answer")
builder.add_conditional_edges("answer", lambda state: "tools" if state["messages"][-1].tool_calls else "check")
builder.add_edge("tools", END)
builder.add_edge("check", END)
graph = builder.compile()

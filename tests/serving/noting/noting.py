"""Notes each run in a file, with a tool or without one, waits for a server, and answers or fails."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.runtime import Runtime

from graph_agent.identity.user_token import user_token


@dataclass
class Context:
    notes: str
    wait: str = ""
    """The address of the server that is waited for."""

    fail: bool = False
    tool: bool = True
    for_user: bool = False
    """Whether the answer needs the token of the user."""


def write(context: Context) -> None:
    with Path(context.notes).open("a", encoding="utf-8") as notes:
        notes.write("noted\n")


async def note(runtime: ToolRuntime[Context]) -> str:
    """Note that the tool was run."""
    write(runtime.context)
    return "noted"


async def call(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    if not runtime.context.tool:
        write(runtime.context)
        return {"messages": []}
    asked = {"name": "note", "args": {}, "id": f"call_{uuid4().hex}", "type": "tool_call"}
    return {"messages": [AIMessage("", tool_calls=[asked])]}


async def answer(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    if runtime.context.wait:
        async with httpx.AsyncClient(timeout=30) as client:
            await client.post(runtime.context.wait)
    if runtime.context.for_user:
        user_token()
    if runtime.context.fail:
        raise RuntimeError("as it was told to")
    said = [one.text for one in state["messages"] if one.type == "human"]
    return {"messages": [AIMessage(f"Noted: {', '.join(said)}.")]}


builder = StateGraph(MessagesState, context_schema=Context)
builder.add_node("call", call)
builder.add_node("tools", ToolNode([note]))
builder.add_node("answer", answer)
builder.add_edge(START, "call")
builder.add_conditional_edges(
    "call", lambda state: "tools" if getattr(state["messages"][-1], "tool_calls", None) else "answer"
)
builder.add_edge("tools", "answer")
graph = builder.compile()

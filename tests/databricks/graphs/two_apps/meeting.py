"""Searches, lists tools and asks with objects that other apps use too, and meets the other run in between."""

import asyncio
from typing import Any

from langgraph.graph import END, START, StateGraph
from tests.databricks import shared

from graph_agent import AgentState


def note(state: AgentState) -> dict[str, Any]:
    return {"custom_outputs": {"node": shared.index_here()}}


async def look(state: AgentState) -> dict[str, Any]:
    await shared.meet()
    found, listed = await shared.search.search("timeout"), await shared.tools.tools()
    await asyncio.to_thread(shared.note_clients)
    told = {
        "to_thread": await asyncio.to_thread(shared.index_here),
        "tool": await shared.index_in_a_tool.ainvoke({}),
        "passages": len(found),
        "tools": len(listed.tools),
        "warnings": list(listed.warnings),
    }
    return {"custom_outputs": state["custom_outputs"] | told}


async def ask(state: AgentState) -> dict[str, Any]:
    await shared.meet()
    return {"messages": [await shared.model.ainvoke(state["messages"])]}


builder = StateGraph(AgentState)
builder.add_node("note", note)
builder.add_node("look", look)
builder.add_node("ask", ask)
builder.add_edge(START, "note")
builder.add_edge("note", "look")
builder.add_edge("look", "ask")
builder.add_edge("ask", END)
graph = builder.compile()

"""Asks the workspace who is calling: from an asynchronous node, a synchronous one, and a tool in a thread."""

import asyncio
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from graph_agent import get_user_workspace_client


def name() -> str:
    return str(get_user_workspace_client().current_user.me().user_name)


@tool
def who() -> str:
    """Who is calling."""
    return name()


async def async_node(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"async {await asyncio.to_thread(name)}")]}


def sync_node(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"sync {name()}")]}


async def tool_node(state: MessagesState) -> dict[str, Any]:
    before = [message.text for message in state["messages"][1:]]
    return {"messages": [AIMessage(" ".join([*before, f"tool {await who.ainvoke({})}"]))]}


builder = StateGraph(MessagesState)
builder.add_sequence([async_node, sync_node, tool_node])
builder.add_edge(START, "async_node")
graph = builder.compile()

"""A graph that holds the event loop up, with a blocking call planted in an async node."""

import time
from typing import Any

from langgraph.graph import END, START, MessagesState, StateGraph


async def sleep(state: MessagesState) -> dict[str, Any]:
    time.sleep(0.01)  # noqa: ASYNC251
    return {"messages": [("ai", "Slept.")]}


builder = StateGraph(MessagesState)
builder.add_node("sleep", sleep)
builder.add_edge(START, "sleep")
builder.add_edge("sleep", END)

graph = builder.compile()

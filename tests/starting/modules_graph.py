"""A graph that says which modules the process has loaded."""

import sys
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(" ".join(sys.modules.copy()))]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")

graph = builder.compile()
"""Its answer has the names, with spaces between."""

"""Answers two megabytes at once, and says nothing before."""

from typing import Any

from langgraph.graph import START, MessagesState, StateGraph


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [("ai", "much " * 400_000)]}


graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()

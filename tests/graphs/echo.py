"""Answers with the conversation it was given, so that a client sees what arrived."""

import json
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


class State(MessagesState):
    custom_outputs: dict[str, Any]


def answer(state: State) -> dict[str, Any]:
    heard = [
        [message.type, message.text, [call["name"] for call in getattr(message, "tool_calls", [])]]
        for message in state["messages"]
    ]
    return {"messages": [AIMessage(json.dumps(heard))], "custom_outputs": {"heard": len(heard)}}


builder = StateGraph(State)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()

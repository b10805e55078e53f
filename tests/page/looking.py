"""A graph that says which images and files it got."""

import base64
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph

from graph_agent import AgentContext, AgentState


def _look(state: AgentState) -> dict[str, Any]:
    message = state["messages"][-1]
    blocks = [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
    return {"messages": [AIMessage("I got: " + "; ".join(map(_told, blocks)))]}


def _told(block: Any) -> str:
    match block:
        case {"type": "text", "text": text}:
            return f"the words {text}"
        case {"type": "image_url", "image_url": {"url": url}}:
            return f"an image, {url.partition(';')[0].removeprefix('data:')}"
        case {"type": "file", "file": {"filename": name, "file_data": url}}:
            head, _, data = url.partition(",")
            return f"{name}, {head.partition(';')[0].removeprefix('data:')}, {base64.b64decode(data).decode()}"
    return f"something else: {block}"


builder = StateGraph(AgentState, context_schema=AgentContext)
builder.add_node("look", _look)
builder.add_edge(START, "look")
builder.add_edge("look", END)
graph = builder.compile()

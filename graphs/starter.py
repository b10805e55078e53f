"""The smallest graph. Copy this file, add it to `langgraph.json`, and graph-agent serves it."""

from typing import Any

from langgraph.graph import END, START, MessagesState, StateGraph

from graph_agent import chat_model

model = chat_model()


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
builder.add_edge("answer", END)

graph = builder.compile()

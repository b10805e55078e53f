"""One model, one answer."""

from typing import Any

from langgraph.graph import START, MessagesState, StateGraph
from scripted import says

model = says(["Hello ", "world."])


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()

"""The smallest graph: copy this file, give it a name in `langgraph.json`, and it is served."""

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

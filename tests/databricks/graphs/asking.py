"""Asks the model of the settings once."""

from langgraph.graph import START, MessagesState, StateGraph

from graph_agent import chat_model

model = chat_model()


async def ask(state: MessagesState) -> MessagesState:
    return {"messages": [await model.ainvoke(state["messages"])]}


builder = StateGraph(MessagesState)
builder.add_node("ask", ask)
builder.add_edge(START, "ask")
graph = builder.compile()

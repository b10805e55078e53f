"""The flagship's planner and tools nodes, with a blocking call planted in an async tool."""

import time

from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from graph_agent import AgentState, chat_model, make_planner, make_tools
from graph_agent.nodes.planner import requested_nodes


@tool
async def nap(seconds: float) -> str:
    """Sleep."""
    time.sleep(seconds)  # noqa: ASYNC251
    return "Slept."


builder = StateGraph(AgentState)
builder.add_node("planner", make_planner(model=chat_model(), tools=[nap], prompt="Use nap."))
builder.add_node("tools", make_tools([nap]))
builder.add_edge(START, "planner")
builder.add_conditional_edges("planner", requested_nodes(retrieval="search_docs"), ["tools", END])
builder.add_edge("tools", "planner")

graph = builder.compile()

"""Works and works: a planner that calls its tool in every turn, and a model that never stops talking."""

from typing import Any

from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from scripted import says

from graph_agent.testing import Call

worker = says(*[[Call("work", "{}", f"call_{turn}")] for turn in range(50)])
talker = says([f"{number} " for number in range(20_000)])


@tool
def work() -> str:
    """Work."""
    return "done"


async def plan(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await worker.ainvoke(state["messages"])]}


async def talk(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await talker.ainvoke(state["messages"])]}


def wanted(state: MessagesState) -> str:
    return "talk" if "talk" in state["messages"][-1].text else "planner"


builder = StateGraph(MessagesState)
builder.add_node("planner", plan)
builder.add_node("talk", talk)
builder.add_node("tools", ToolNode([work]))
builder.add_conditional_edges(START, wanted, ["planner", "talk"])
builder.add_edge("planner", "tools")
builder.add_edge("tools", "planner")
graph = builder.compile()

"""A graph that sends mails, and asks before it sends one to ann."""

from typing import Any

from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from graph_agent import AgentContext, AgentState, make_planner, make_tools, requested_nodes


@tool
def send(to: str) -> str:
    """Send a mail."""
    return f"sent to {to}"


def planner(model: Any) -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=model, tools=[send], prompt="Help."))
    builder.add_node("tools", make_tools([send], approve=lambda call: call["args"]["to"] == "ann"))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes("none"), ["tools", END])
    builder.add_edge("tools", "planner")
    return builder.compile()

"""The graph of the long conversation: planner -> tools -> planner, as in `bench.scripted`, with `AgentState`."""

from typing import Any

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import tools_condition

from bench.scripted import ScriptedModel, look_up
from graph_agent import AgentState, make_planner, make_tools

tools = [look_up]

builder = StateGraph(AgentState)
builder.add_node("planner", make_planner(model=ScriptedModel(), tools=tools, prompt="Look the word up."))
builder.add_node("tools", make_tools(tools))
builder.add_edge(START, "planner")
builder.add_conditional_edges("planner", tools_condition)
builder.add_edge("tools", "planner")

graph: CompiledStateGraph[Any, Any, Any, Any] = builder.compile()

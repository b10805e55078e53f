"""A graph that asks a person, and greets them by what its context says."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from graph_agent import AgentContext, AgentState


async def ask(state: AgentState, runtime: Runtime[AgentContext]) -> dict[str, Any]:
    decision = interrupt({"question": "Send it?"})
    return {"messages": [("ai", f"{runtime.context.custom_inputs['name']} said {decision}.")]}


builder = StateGraph(AgentState, context_schema=AgentContext)
builder.add_node("ask", ask)
builder.add_edge(START, "ask")
builder.add_edge("ask", END)

graph = builder.compile()

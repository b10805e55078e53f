"""Everything a stranger's graph does: private thoughts, reasoning, text before parallel tool calls, a failing tool,
a subgraph."""

from typing import Any

from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from scripted import says

from graph_agent.testing import Call, Reasoning

PASSWORD = "hunter2-5f0c"

secret_plan = says("SECRET PLAN: ask twice.").with_config(tags=["nostream"])
verdict = says('{"verdict": "SECRET"}').bind(
    ls_structured_output_format={"kwargs": {}, "schema": {"title": "Verdict", "type": "object", "properties": {}}}
)
expert = says("SECRET words inside a tool")
planner = says(
    [
        Reasoning("Two cities, "),
        Reasoning("so two calls."),
        "Let me ",
        "look that up.",
        Call("weather", '{"city": "Paris"}', "call_paris"),
        Call("weather", '{"city": "Rome"}', "call_rome"),
        Call("broken", "{}", "call_broken"),
    ],
    [],
    ["It is sunny in Paris ", "and mild in Rome."],
)
researcher = says("", ["Notes: ", "two cities."])


@tool
async def weather(city: str) -> str:
    """Today's weather."""
    await expert.ainvoke("which?")
    return f'{{"city": "{city}", "sky": "clear"}}'


@tool
def broken() -> str:
    """Fail."""
    raise ValueError(f"could not connect to postgres://me:{PASSWORD}@db")


async def think(state: MessagesState) -> dict[str, Any]:
    await verdict.ainvoke(state["messages"])
    await secret_plan.ainvoke(state["messages"])
    return {}


async def plan(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await planner.ainvoke(state["messages"])]}


async def research(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await researcher.ainvoke(state["messages"])]}


inside = StateGraph(MessagesState)
inside.add_node("research", research)
inside.add_edge(START, "research")

builder = StateGraph(MessagesState)
builder.add_node("think", think)
builder.add_node("planner", plan)
builder.add_node("tools", ToolNode([weather, broken], handle_tool_errors=True))
builder.add_node("researchers", inside.compile())
builder.add_edge(START, "think")
builder.add_edge("think", "planner")
builder.add_conditional_edges("planner", lambda state: "tools" if state["messages"][-1].tool_calls else END)
builder.add_edge("tools", "researchers")
builder.add_edge("researchers", "planner")
graph = builder.compile()

"""The flagship: answers from your documents, with tools where they help, and cites what it read.

    planner ──► retriever ──► planner ──► end
       └──────► tools ──────────┘

Its last message is the answer.
"""

from langgraph.graph import START, StateGraph

from graph_agent import AgentContext, AgentState, chat_model, make_planner, make_retriever, make_tools
from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.nodes.planner import requested_nodes
from graph_agent.toolbox import calculator, convert_units, current_time

PROMPT = """You are a careful assistant for the documentation of graph-agent.
Use search_docs for every question about graph-agent, its settings, commands, routes, errors or design.
Use a tool for every calculation, date, time or unit conversion.
Answer in one to three short sentences, only from the passages and tool results you were given.
Cite the passage you used with its number in brackets, such as [1].
If the passages do not say it, answer exactly: The documents do not answer this."""

NOTHING_FOUND = "The documents do not answer this."

documents = DocumentSearch(
    name="search_docs",
    description="Search the documentation of graph-agent: settings, commands, routes, errors, design, deployment.",
)
tools = [calculator, current_time, convert_units]

builder = StateGraph(AgentState, context_schema=AgentContext)
builder.add_node(
    "planner",
    make_planner(
        model=chat_model(temperature=0),
        tools=[documents.schema, *tools],
        prompt=PROMPT,
        nothing_found=NOTHING_FOUND,
    ),
)
builder.add_node("retriever", make_retriever(documents))
builder.add_node("tools", make_tools(tools, skip=[documents.name]))
builder.add_edge(START, "planner")
builder.add_conditional_edges("planner", requested_nodes(retrieval=documents.name))
builder.add_edge("retriever", "planner")
builder.add_edge("tools", "planner")

# No checkpointer here: LangGraph Studio and the service each attach their own.
graph = builder.compile()

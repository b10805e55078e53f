"""A graph that uses all of a workspace: a model, an index, an MCP server, and a function on a warehouse."""

from langgraph.graph import START, StateGraph

from graph_agent import AgentState, chat_model, make_planner, make_retriever, make_tools
from graph_agent.databricks.functions import uc_functions
from graph_agent.databricks.mcp import McpServer, McpTools
from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.nodes.planner import requested_nodes

documents = DocumentSearch()
tools = [McpTools([McpServer.functions("main.tools")]), uc_functions("main.shop.price", warehouse="w1")]

builder = StateGraph(AgentState)
builder.add_node("planner", make_planner(model=chat_model(), tools=[documents.schema, *tools], prompt="Be brief."))
builder.add_node("retriever", make_retriever(documents))
builder.add_node("tools", make_tools(tools, skip=[documents.name]))
builder.add_edge(START, "planner")
builder.add_conditional_edges("planner", requested_nodes(retrieval=documents.name))
builder.add_edge("retriever", "planner")
builder.add_edge("tools", "planner")

graph = builder.compile()

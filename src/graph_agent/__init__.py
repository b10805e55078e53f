"""graph-agent serves LangGraph graphs as Responses agents. This is the front door for graph authors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph_agent.caller import Caller
    from graph_agent.contract import AgentContext, AgentState, Source
    from graph_agent.databricks.clients import get_user_workspace_client
    from graph_agent.databricks.vector_search import DocumentSearch
    from graph_agent.models import chat_model
    from graph_agent.nodes.agent import make_agent
    from graph_agent.nodes.handoff import Handoff
    from graph_agent.nodes.planner import make_planner
    from graph_agent.nodes.retriever import make_retriever
    from graph_agent.nodes.retrievers import Columns, RetrieverSearch
    from graph_agent.nodes.supervisor import hand_back, make_supervisor, route_handoffs
    from graph_agent.nodes.tool_errors import tool_fault
    from graph_agent.nodes.tools import make_tools

__all__ = [
    "AgentContext",
    "AgentState",
    "Caller",
    "Columns",
    "DocumentSearch",
    "Handoff",
    "RetrieverSearch",
    "Source",
    "chat_model",
    "get_user_workspace_client",
    "hand_back",
    "make_agent",
    "make_planner",
    "make_retriever",
    "make_supervisor",
    "make_tools",
    "route_handoffs",
    "tool_fault",
]

_HOMES = {
    "AgentContext": "graph_agent.contract",
    "AgentState": "graph_agent.contract",
    "Caller": "graph_agent.caller",
    "Columns": "graph_agent.nodes.retrievers",
    "DocumentSearch": "graph_agent.databricks.vector_search",
    "Handoff": "graph_agent.nodes.handoff",
    "RetrieverSearch": "graph_agent.nodes.retrievers",
    "Source": "graph_agent.contract",
    "chat_model": "graph_agent.models",
    "get_user_workspace_client": "graph_agent.databricks.clients",
    "hand_back": "graph_agent.nodes.supervisor",
    "make_agent": "graph_agent.nodes.agent",
    "make_planner": "graph_agent.nodes.planner",
    "make_retriever": "graph_agent.nodes.retriever",
    "make_supervisor": "graph_agent.nodes.supervisor",
    "make_tools": "graph_agent.nodes.tools",
    "route_handoffs": "graph_agent.nodes.supervisor",
    "tool_fault": "graph_agent.nodes.tool_errors",
}


def __getattr__(name: str) -> Any:
    # Late, because the service binds its port before LangGraph is imported (two seconds of CPU).
    if name not in _HOMES:
        raise AttributeError(f"module 'graph_agent' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

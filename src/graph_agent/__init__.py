"""graph-agent serves LangGraph graphs as Responses agents. This module is the public API.

Graphs, evaluations, tests and host apps import from here and not from the modules below. The import is cheap: each
name loads its module on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph_agent.answer_form import AnswerForm, takes_answer_form
    from graph_agent.client_tools import takes_client_tools
    from graph_agent.contract import PUBLIC_ERROR, AgentContext, AgentState, ListedTools, Source, ToolSource
    from graph_agent.databricks.clients import get_user_workspace_client
    from graph_agent.databricks.functions import uc_functions
    from graph_agent.databricks.genie import genie
    from graph_agent.databricks.mcp import McpTools
    from graph_agent.databricks.mcp_servers import McpServer
    from graph_agent.databricks.vector_search import DocumentSearch
    from graph_agent.errors import (
        AgentError,
        AnswerUnfit,
        ApprovalNeedsStore,
        BadSetting,
        ConfigurationError,
        GraphFailed,
        GraphNotLoaded,
        InvalidRequest,
        MemoryRefused,
        ModelContextExceeded,
        ModelFailed,
        ModelRateLimited,
        ModelTimedOut,
        NotReady,
        RequestError,
        RetrievalFailed,
        RunError,
        ServiceStopping,
        ToolFailed,
        Unauthenticated,
        UnknownGraph,
        UnsupportedField,
        WorkspaceUnavailable,
    )
    from graph_agent.identity.caller import Caller
    from graph_agent.model_options import takes_logprobs
    from graph_agent.models import chat_model
    from graph_agent.nodes.agent import make_agent
    from graph_agent.nodes.citations import CheckedCitations, Citation, citation_annotations, citations_in
    from graph_agent.nodes.client_tools_middleware import ClientToolsMiddleware
    from graph_agent.nodes.handoff import Handoff
    from graph_agent.nodes.langchain_retriever import Columns, RetrieverSearch
    from graph_agent.nodes.memory_tools import memory_tools
    from graph_agent.nodes.planner import make_planner, requested_nodes
    from graph_agent.nodes.retriever import make_retriever
    from graph_agent.nodes.supervisor import hand_back, make_supervisor, route_handoffs
    from graph_agent.nodes.tool_errors import tool_fault
    from graph_agent.nodes.tools import make_tools
    from graph_agent.redaction import HIDDEN_VALUES, redact, redact_async, redact_value, redact_value_async
    from graph_agent.responses_agent import GraphResponsesAgent
    from graph_agent.serving.app import create_app
    from graph_agent.serving.logs import logging_config
    from graph_agent.serving.mounting import host_lifespan
    from graph_agent.settings import Budgets, Settings
    from graph_agent.toolbox import calculator, convert_units, current_time
    from graph_agent.tracing import record_retrieval

__all__ = [
    "HIDDEN_VALUES",
    "PUBLIC_ERROR",
    "AgentContext",
    "AgentError",
    "AgentState",
    "AnswerForm",
    "AnswerUnfit",
    "ApprovalNeedsStore",
    "BadSetting",
    "Budgets",
    "Caller",
    "CheckedCitations",
    "Citation",
    "ClientToolsMiddleware",
    "Columns",
    "ConfigurationError",
    "DocumentSearch",
    "GraphFailed",
    "GraphNotLoaded",
    "GraphResponsesAgent",
    "Handoff",
    "InvalidRequest",
    "ListedTools",
    "McpServer",
    "McpTools",
    "MemoryRefused",
    "ModelContextExceeded",
    "ModelFailed",
    "ModelRateLimited",
    "ModelTimedOut",
    "NotReady",
    "RequestError",
    "RetrievalFailed",
    "RetrieverSearch",
    "RunError",
    "ServiceStopping",
    "Settings",
    "Source",
    "ToolFailed",
    "ToolSource",
    "Unauthenticated",
    "UnknownGraph",
    "UnsupportedField",
    "WorkspaceUnavailable",
    "calculator",
    "chat_model",
    "citation_annotations",
    "citations_in",
    "convert_units",
    "create_app",
    "current_time",
    "genie",
    "get_user_workspace_client",
    "hand_back",
    "host_lifespan",
    "logging_config",
    "make_agent",
    "make_planner",
    "make_retriever",
    "make_supervisor",
    "make_tools",
    "memory_tools",
    "record_retrieval",
    "redact",
    "redact_async",
    "redact_value",
    "redact_value_async",
    "requested_nodes",
    "route_handoffs",
    "takes_answer_form",
    "takes_client_tools",
    "takes_logprobs",
    "tool_fault",
    "uc_functions",
]

_MODULES = {
    "AgentContext": "graph_agent.contract",
    "AgentError": "graph_agent.errors",
    "AgentState": "graph_agent.contract",
    "AnswerForm": "graph_agent.answer_form",
    "AnswerUnfit": "graph_agent.errors",
    "ApprovalNeedsStore": "graph_agent.errors",
    "BadSetting": "graph_agent.errors",
    "Budgets": "graph_agent.settings",
    "Caller": "graph_agent.identity.caller",
    "CheckedCitations": "graph_agent.nodes.citations",
    "Citation": "graph_agent.nodes.citations",
    "ClientToolsMiddleware": "graph_agent.nodes.client_tools_middleware",
    "Columns": "graph_agent.nodes.langchain_retriever",
    "ConfigurationError": "graph_agent.errors",
    "DocumentSearch": "graph_agent.databricks.vector_search",
    "GraphFailed": "graph_agent.errors",
    "GraphNotLoaded": "graph_agent.errors",
    "GraphResponsesAgent": "graph_agent.responses_agent",
    "Handoff": "graph_agent.nodes.handoff",
    "InvalidRequest": "graph_agent.errors",
    "HIDDEN_VALUES": "graph_agent.redaction",
    "ListedTools": "graph_agent.contract",
    "McpServer": "graph_agent.databricks.mcp_servers",
    "McpTools": "graph_agent.databricks.mcp",
    "MemoryRefused": "graph_agent.errors",
    "ModelFailed": "graph_agent.errors",
    "ModelContextExceeded": "graph_agent.errors",
    "ModelRateLimited": "graph_agent.errors",
    "ModelTimedOut": "graph_agent.errors",
    "NotReady": "graph_agent.errors",
    "PUBLIC_ERROR": "graph_agent.contract",
    "RequestError": "graph_agent.errors",
    "RetrievalFailed": "graph_agent.errors",
    "RetrieverSearch": "graph_agent.nodes.langchain_retriever",
    "RunError": "graph_agent.errors",
    "ServiceStopping": "graph_agent.errors",
    "Settings": "graph_agent.settings",
    "Source": "graph_agent.contract",
    "ToolFailed": "graph_agent.errors",
    "ToolSource": "graph_agent.contract",
    "Unauthenticated": "graph_agent.errors",
    "UnknownGraph": "graph_agent.errors",
    "UnsupportedField": "graph_agent.errors",
    "WorkspaceUnavailable": "graph_agent.errors",
    "calculator": "graph_agent.toolbox",
    "chat_model": "graph_agent.models",
    "citations_in": "graph_agent.nodes.citations",
    "citation_annotations": "graph_agent.nodes.citations",
    "convert_units": "graph_agent.toolbox",
    "create_app": "graph_agent.serving.app",
    "current_time": "graph_agent.toolbox",
    "genie": "graph_agent.databricks.genie",
    "get_user_workspace_client": "graph_agent.databricks.clients",
    "hand_back": "graph_agent.nodes.supervisor",
    "host_lifespan": "graph_agent.serving.mounting",
    "logging_config": "graph_agent.serving.logs",
    "make_agent": "graph_agent.nodes.agent",
    "make_planner": "graph_agent.nodes.planner",
    "make_retriever": "graph_agent.nodes.retriever",
    "make_supervisor": "graph_agent.nodes.supervisor",
    "make_tools": "graph_agent.nodes.tools",
    "memory_tools": "graph_agent.nodes.memory_tools",
    "record_retrieval": "graph_agent.tracing",
    "redact": "graph_agent.redaction",
    "redact_async": "graph_agent.redaction",
    "redact_value": "graph_agent.redaction",
    "redact_value_async": "graph_agent.redaction",
    "requested_nodes": "graph_agent.nodes.planner",
    "route_handoffs": "graph_agent.nodes.supervisor",
    "takes_answer_form": "graph_agent.answer_form",
    "takes_client_tools": "graph_agent.client_tools",
    "takes_logprobs": "graph_agent.model_options",
    "tool_fault": "graph_agent.nodes.tool_errors",
    "uc_functions": "graph_agent.databricks.functions",
}
"""The module that defines each name. A test compares the names with `__all__` and the imports above."""


def __getattr__(name: str) -> Any:
    # Late imports, because the service binds its port before it imports LangGraph, which takes two seconds of CPU.
    if name not in _MODULES:
        raise AttributeError(f"module 'graph_agent' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

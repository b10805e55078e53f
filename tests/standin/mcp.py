"""MCP servers of the stand-in, beside the workspace's own at `/api/2.0/mcp/functions/main/tools`."""

from collections.abc import Sequence

from langchain_core.tools import BaseTool, tool
from starlette.routing import Route

from graph_agent.local.functions import PATH, FunctionServer

FUNCTIONS = "^" + PATH + "$"
"""Pattern of the workspace's own, for `calls` and faults."""


@tool
def forecast(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


@tool
def find_customer(config: str, callbacks: int = 0) -> str:
    """A tool whose arguments are named like LangChain's own."""
    return f"{config} {callbacks}"


def mcp_route(path: str, tools: Sequence[BaseTool] = (forecast,), *, stateless: bool = True) -> Route:
    """A server of those tools at that path. One that is not `stateless` keeps sessions, and can forget them."""
    return FunctionServer(tools, path=path, prefix="", stateless=stateless).route()

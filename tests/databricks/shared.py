"""What the graphs of two apps share: objects of a module that both import, made once for the process."""

import asyncio
import weakref
from typing import Any

from langchain_core.tools import tool

from graph_agent import DocumentSearch, chat_model, get_user_workspace_client
from graph_agent.app_context import current_settings
from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.mcp import McpServer, McpTools

model = chat_model()
search = DocumentSearch()
tools = McpTools([McpServer.functions("main.tools", acting_as="app")])

MEETINGS: list[asyncio.Barrier] = []
"""Where two runs wait for each other, if they are to; so neither is over before the other has begun."""

CLIENTS: "list[weakref.ref[Any]]" = []
"""Every client that a run was given."""


async def meet() -> None:
    """Wait for the other run."""
    for barrier in MEETINGS:
        await barrier.wait()


def index_here() -> str:
    """The index of the settings that this thread sees."""
    return current_settings().index


@tool
def index_in_a_tool() -> str:
    """The index of the settings that a synchronous tool sees."""
    return index_here()


def note_clients() -> None:
    """Remember the clients of the app, without keeping them alive."""
    CLIENTS.extend(weakref.ref(one) for one in (workspace_client(), get_user_workspace_client()))

"""Tools that are listed in each turn: each user may have other tools, and none while its server is down."""

import logging
from collections.abc import Sequence
from typing import Any

from langchain_core.tools import BaseTool

from graph_agent.contract import ListedTools, ToolSource
from graph_agent.errors import AgentError
from graph_agent.nodes.concurrency import gather_or_cancel

logger = logging.getLogger(__name__)


async def available_tools(tools: Sequence[Any]) -> ListedTools:
    """`tools` with every source replaced by its current tools. All sources are asked concurrently.

    A tool with a name that is already taken is left out with a warning, as a model cannot distinguish the two.
    """
    sources = [tool for tool in tools if isinstance(tool, ToolSource)]
    found = [tool for tool in tools if not isinstance(tool, ToolSource)]
    taken = {tool_name_of(tool) for tool in found}
    warnings: list[str] = []
    for listed in await gather_or_cancel(map(_ask, sources)):
        warnings += listed.warnings
        for tool in listed.tools:
            name = tool_name_of(tool)
            if name in taken:
                warnings.append(f"One of two tools named {name} was left out: give its server another name.")
                continue
            taken.add(name)
            found.append(tool)
    return ListedTools(found, warnings)


def tool_name_of(tool: Any) -> str:
    """The name of a LangChain tool, a function, or an OpenAI schema, as a model calls it."""
    if isinstance(tool, BaseTool):
        return tool.name
    if isinstance(tool, dict):
        return str(tool.get("function", tool).get("name", ""))
    return str(getattr(tool, "__name__", ""))


async def _ask(source: ToolSource) -> ListedTools:
    try:
        return await source.tools()
    except AgentError:
        raise
    except Exception as error:  # noqa: BLE001 - a source may be a graph author's code; the turn continues without it
        logger.warning("tools could not be listed: %s of %s", type(error).__name__, type(source).__name__)
        return ListedTools(warnings=[f"Some tools are not available now ({type(error).__name__})."])

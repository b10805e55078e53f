"""The tools an MCP server lists, as LangChain's, under names that chat endpoints take and in schemas they take."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]
from langchain_core.utils.function_calling import convert_to_openai_tool
from mcp import types

from graph_agent.databricks.mcp_servers import McpServer
from graph_agent.databricks.mcp_sessions import MOST_TOOLS, ListedTools
from graph_agent.databricks.remote_tool import RemoteTool, Result

LONGEST_NAME = 64
"""Characters of a tool's name that chat endpoints take."""

MOST_DESCRIPTION = 4096
"""Characters of a tool's description; a longer one would fill the model's window at every turn."""

Ask = Callable[[dict[str, Any]], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class UsableTools:
    """The tools of an offer that can be used, and a warning where some cannot."""

    tools: Sequence[RemoteTool]
    warning: str | None


def usable_tools(server: McpServer, offer: ListedTools, asks: Callable[[str], Ask]) -> UsableTools:
    """The usable tools of an offer. Takes milliseconds for each tool: call it in a thread."""
    made = [_made(server, tool, asks) for tool in offer]
    usable = [tool for tool in made if tool is not None]
    return UsableTools(usable, " ".join(_left_out(server, offer, len(made) - len(usable) + offer.unreadable)) or None)


def with_distinct_names(tools: Sequence[RemoteTool]) -> list[RemoteTool]:
    """The tools, those that were cut or respelled to one and the same name with a mark of their own at its end."""
    names = Counter(name for name, _ in {(tool.name, tool.full_name) for tool in tools})
    if all(count == 1 for count in names.values()):
        return list(tools)
    return [tool.model_copy(update={"name": _marked(tool)}) if names[tool.name] > 1 else tool for tool in tools]


def _marked(tool: RemoteTool) -> str:
    mark = hashlib.sha256(tool.full_name.encode()).hexdigest()[:8]
    return f"{tool.name[-(LONGEST_NAME - 9) :]}_{mark}"


def _made(server: McpServer, tool: types.Tool, asks: Callable[[str], Ask]) -> RemoteTool | None:
    """The tool; nothing where a chat endpoint would refuse it, and with it every other."""
    try:
        schema = {"type": "object", "properties": {}} | tool.inputSchema
        schema.pop("$schema", None)
        if schema["type"] != "object" or not tool.name:
            return None
        Draft202012Validator.check_schema(schema)
        made = RemoteTool(
            name=server.tool_name(tool.name),
            full_name=server.full_name(tool.name),
            description=(tool.description or tool.title or tool.name)[:MOST_DESCRIPTION],
            args_schema=schema,
            ask=asks(tool.name),
        )
        # As the planner will: it resolves references, and fails over one that leads nowhere.
        convert_to_openai_tool(made)
    except (ValueError, TypeError, LookupError, AttributeError, SchemaError, RecursionError):
        return None
    return made


def _left_out(server: McpServer, offer: ListedTools, unusable: int) -> Iterator[str]:
    if unusable:
        count = f"{unusable} tools" if unusable > 1 else "One tool"
        were = "were" if unusable > 1 else "was"
        yield f"{count} of {server.name} {were} left out: the schema cannot be used."
    if offer.beyond or offer.endless:
        known = len(offer.tools) + offer.beyond
        listed = f"more than {known}" if offer.endless else str(known)
        rest = f"at least {max(offer.beyond, 1)}" if offer.endless else str(offer.beyond)
        were = "was" if rest == "1" else "were"
        yield f"Of the {listed} tools of {server.name}, {rest} {were} left out: at most {MOST_TOOLS} are taken."

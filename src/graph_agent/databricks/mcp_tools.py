"""The tools of an MCP server as LangChain tools, with names and schemas that chat endpoints accept."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]
from langchain_core.utils.function_calling import convert_to_openai_tool
from mcp import types

from graph_agent.databricks.mcp_servers import McpServer
from graph_agent.databricks.mcp_sessions import MOST_TOOLS, ListedTools
from graph_agent.databricks.remote_tool import RemoteTool, Result

LONGEST_NAME = 64
"""Characters of a tool's name that chat endpoints accept."""

MOST_DESCRIPTION = 4096
"""Characters of a tool's description. A longer one would fill the model's context window in every turn."""

MOST_SCHEMA = 5_000
"""Values in the schema of a tool, with its references followed. A few that refer to each other can make billions."""

Ask = Callable[[dict[str, Any]], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class UsableTools:
    """The tools of a list that can be used, and a warning if some cannot."""

    tools: Sequence[RemoteTool]
    warning: str | None


def usable_tools(server: McpServer, listed: ListedTools, caller: Callable[[str], Ask]) -> UsableTools:
    """The usable tools of a list. Takes milliseconds for each tool: call it in a thread."""
    made = [_tool(server, tool, caller) for tool in listed]
    usable = [tool for tool in made if tool is not None]
    unusable = len(made) - len(usable) + listed.unreadable
    return UsableTools(usable, " ".join(_warnings(server, listed, unusable)) or None)


def with_distinct_names(tools: Sequence[RemoteTool]) -> list[RemoteTool]:
    """The tools, with a hash at the end of each name that several of them got when names were shortened."""
    # A set: two entries for the same tool do not make its name ambiguous.
    names = Counter(name for name, _ in {(tool.name, tool.full_name) for tool in tools})
    if all(count == 1 for count in names.values()):
        return list(tools)
    return [tool.model_copy(update={"name": _marked(tool)}) if names[tool.name] > 1 else tool for tool in tools]


def _marked(tool: RemoteTool) -> str:
    mark = hashlib.sha256(tool.full_name.encode()).hexdigest()[:8]
    return f"{tool.name[-(LONGEST_NAME - 9) :]}_{mark}"


def _tool(server: McpServer, tool: types.Tool, caller: Callable[[str], Ask]) -> RemoteTool | None:
    """The tool; `None` if a chat endpoint would refuse it, as that would make all other tools fail too."""
    try:
        schema = {"type": "object", "properties": {}} | tool.inputSchema
        schema.pop("$schema", None)
        if schema["type"] != "object" or not tool.name or schema_size(schema) > MOST_SCHEMA:
            return None
        Draft202012Validator.check_schema(schema)
        made = RemoteTool(
            name=server.tool_name(tool.name),
            full_name=server.full_name(tool.name),
            description=(tool.description or tool.title or tool.name)[:MOST_DESCRIPTION],
            args_schema=schema,
            ask=caller(tool.name),
        )
        # The same conversion as in the planner: it resolves references and fails on a dangling one.
        convert_to_openai_tool(made)
    except (ValueError, TypeError, LookupError, AttributeError, SchemaError, RecursionError):
        return None
    return made


def schema_size(schema: Any, *, most: int = MOST_SCHEMA) -> int:
    """How many values a schema has, with its references followed as the planner does. Counts up to one above `most`."""
    count = 0

    def count_in(value: Any, followed: frozenset[str]) -> None:
        nonlocal count
        count += 1
        if count > most:
            return
        if isinstance(value, Mapping):
            ref = value.get("$ref")
            if isinstance(ref, str) and ref not in followed:
                count_in(_referred(schema, ref), followed | {ref})
            inner: Iterable[Any] = value.values()
        else:
            inner = value if isinstance(value, list) else ()
        for one in inner:
            if count > most:
                return
            count_in(one, followed)

    count_in(schema, frozenset())
    return count


def _referred(schema: Any, ref: str) -> Any:
    value = schema
    for step in ref.removeprefix("#").strip("/").split("/"):
        value = value.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(value, Mapping) else None
    return value


def _warnings(server: McpServer, listed: ListedTools, unusable: int) -> Iterator[str]:
    if unusable:
        count = f"{unusable} tools" if unusable > 1 else "One tool"
        were = "were" if unusable > 1 else "was"
        yield f"{count} of {server.name} {were} left out: the schema cannot be used."
    if listed.beyond or listed.endless:
        known = len(listed.tools) + listed.beyond
        total = f"more than {known}" if listed.endless else str(known)
        rest = f"at least {max(listed.beyond, 1)}" if listed.endless else str(listed.beyond)
        were = "was" if rest == "1" else "were"
        yield f"Of the {total} tools of {server.name}, {rest} {were} left out: at most {MOST_TOOLS} are used."

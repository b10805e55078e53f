"""MCP servers that a client names in its request: listed before its run, and called with the client's credentials.

The operator's list is the border: no request goes to an address that is not on it, not by a redirect either. The
sessions and the credentials belong to one run and end with it.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.utils.function_calling import convert_to_openai_tool

from graph_agent.app_context import current_settings
from graph_agent.client_tools import ServedTool, ServerList, ToolServer
from graph_agent.databricks.mcp import check_arguments, sessions_class
from graph_agent.databricks.mcp_errors import REASONS, explain_failure
from graph_agent.databricks.mcp_failure import ExchangeFailed
from graph_agent.databricks.mcp_servers import McpServer
from graph_agent.databricks.remote_tool import RemoteTool
from graph_agent.threads import run_in_call_thread
from graph_agent.trusted_hosts import server_address

if TYPE_CHECKING:
    from mcp import types

    from graph_agent.databricks.mcp_sessions import ListedTools, Session, Sessions

logger = logging.getLogger(__name__)

LIST_SECONDS = 10.0
"""The longest time in which a server lists its tools. The graph waits for all servers of its request."""

MOST_LIST_BYTES = 131_072
"""Bytes of the tools of one server as JSON. The response has them, and the model gets them in every step."""

MOST_LIST_VALUES = 20_000
"""Values in the schemas of all tools of one server, with their references followed."""

LONGEST_NAME = 128
"""Characters of the name of a tool."""

_ending: set[asyncio.Task[None]] = set()
"""The sessions of runs that are over. The event loop alone does not keep a task."""


class ClientServers:
    """The servers of one run. `headers` has what is sent with each request, by the label of the server.

    Call `listed` once, and `leave` when the run is over.
    """

    def __init__(self, servers: Sequence[ToolServer], headers: Mapping[str, Mapping[str, str]]) -> None:
        self._servers = servers
        self._headers = headers
        self._sessions: Sessions | None = None

    async def listed(self) -> list[ServerList]:
        """The tools of every server, in order, or why there are none."""
        known = current_settings().client_mcp_addresses
        # Late and in a thread: the SDK takes a second to import.
        sessions = await run_in_call_thread(sessions_class)
        # A redirect to another address on the list, such as one with a slash at its end, is followed.
        self._sessions = sessions(
            most=len(self._servers),
            idle_seconds=3600.0,
            seconds=current_settings().request_seconds,
            may_move=lambda url: server_address(url) in known,
        )
        lists = await asyncio.gather(*(self._listed(server, known) for server in self._servers))
        return _with_distinct_names(lists)

    def leave(self) -> None:
        """End the sessions. Nobody waits for that."""
        if self._sessions is not None:
            ending = self._sessions.end()
            _ending.add(ending)
            ending.add_done_callback(_ending.discard)

    async def _listed(self, server: ToolServer, known: Sequence[str]) -> ServerList:
        if server.url not in known:
            # A run that began before a restart, with another list.
            return self._missing(server, "its address is not on the operator's list any more")
        from mcp import McpError

        seconds = min(LIST_SECONDS, current_settings().request_seconds)
        try:
            async with asyncio.timeout(seconds):
                listed = await self._with_session(server, lambda open: open.tools(seconds=seconds))
            # In a thread: checking schemas takes milliseconds for each tool.
            return await run_in_call_thread(self._read, server, listed)
        except TimeoutError:
            return self._missing(server, REASONS["slow"])
        except ExchangeFailed as failure:
            return self._missing(server, self._why(failure, server))
        except McpError:
            return self._missing(server, "it refused to list them")

    def _missing(self, server: ToolServer, reason: str) -> ServerList:
        logger.warning("the tools of MCP server %s of a request are not available: %s", server.label, reason)
        return ServerList(label=server.label, error=f"The tools of {server.label} could not be listed: {reason}.")

    def _read(self, server: ToolServer, listed: "ListedTools") -> ServerList:
        from graph_agent.databricks.mcp_tools import usable_tools

        offered = [one for one in listed if server.offers(one.name, read_only=_only_reads(one))]
        kept, left = _bounded(offered)
        named = McpServer.at(server.url, name=server.label)
        origin = {named.full_name(one.name): one for one in kept}
        found = usable_tools(
            named,
            replace(listed, tools=kept, beyond=0, endless=False),
            lambda name: self._caller(server, name),
        )
        warnings = [] if found.warning is None else [found.warning]
        left += listed.beyond
        if left or listed.endless:
            count = f"{left} of them" if left else "Some of them"
            warnings.append(f"The tools of {server.label} are too many or too large: {count} were left out.")
        tools = [_served(server, origin[tool.full_name], tool) for tool in found.tools]
        return ServerList(
            label=server.label,
            tools=tools,
            listed=[_entry(origin[tool.full_name], tool) for tool in found.tools],
            warning=" ".join(warnings) or None,
        )

    def _caller(self, server: ToolServer, name: str) -> Callable[[dict[str, Any]], Any]:
        async def ask(arguments: dict[str, Any]) -> Any:
            return await self._call(server, name, arguments)

        return ask

    async def _call(self, server: ToolServer, name: str, arguments: Mapping[str, Any]) -> Any:
        """One call.

        Raises:
            ToolFailed: there was no answer. The message is ours.
            ToolException: the tool or its server reported an error. The message is theirs, for the model only.
        """
        from graph_agent.databricks.mcp_results import result_of

        check_arguments(arguments)
        return await result_of(
            self._with_session(server, lambda open: open.call(name, arguments)),
            name=server.label,
            logged_as=f"{server.label} of a request",
            why=lambda failure: self._why(failure, server),
        )

    async def _with_session(self, server: ToolServer, ask: Callable[["Session"], Any]) -> Any:
        """The result of `ask` on the open session, or once more on a new one if the server lost the session."""
        assert self._sessions is not None, "the servers are listed before their tools are called"
        given = self._headers.get(server.label, {})

        async def headers() -> Mapping[str, str]:
            return given

        return await self._sessions.asked((server.label, ""), server.url, headers, ask)

    def _why(self, failure: ExchangeFailed, server: ToolServer) -> str:
        """Why there was no answer and what to change, without any text of the server."""
        match failure.reason, failure.status:
            case "refused", 401 if server.label not in self._headers:
                return "it requires credentials (401); send `authorization` or `headers` with it in `tools`"
            case "refused", 401:
                return "it did not accept the credentials of the request (401)"
            case "refused", 403:
                return "it does not allow this (403)"
            case "refused", int(status) if 300 <= status < 400:
                return f"it redirects ({status}) to an address that is not on the operator's list"
        return explain_failure(failure, McpServer.at(server.url, name=server.label))


def _bounded(tools: Sequence["types.Tool"]) -> tuple[list["types.Tool"], int]:
    """The first of the tools that are small enough together, and how many others there are."""
    from graph_agent.databricks.mcp_tools import schema_size

    kept: list[types.Tool] = []
    size = values = 0
    for one in tools:
        try:
            text = json.dumps([one.name, one.description, one.inputSchema, _hints(one)], ensure_ascii=False).encode()
            count = schema_size(one.inputSchema)
        except (ValueError, TypeError, RecursionError):
            continue
        if (
            len(one.name) > LONGEST_NAME
            or not one.name.isprintable()
            or size + len(text) > MOST_LIST_BYTES
            or values + count > MOST_LIST_VALUES
        ):
            continue
        size, values = size + len(text), values + count
        kept.append(one)
    return kept, len(tools) - len(kept)


def _served(server: ToolServer, tool: "types.Tool", made: RemoteTool) -> ServedTool:
    if server.description:
        # The only place that every model reads.
        about = f"{made.description}\n\nOf {server.label}: {server.description}"
        made = made.model_copy(update={"description": about})
    return ServedTool(
        label=server.label,
        url=server.url,
        name=tool.name,
        asks=server.asks(tool.name, read_only=_only_reads(tool)),
        tool=made,
        schema=convert_to_openai_tool(made),
    )


def _entry(tool: "types.Tool", made: RemoteTool) -> dict[str, Any]:
    """A tool as the list of a response says it."""
    return {
        "name": tool.name,
        "description": made.description,
        "input_schema": tool.inputSchema,
        "annotations": _hints(tool),
    }


def _hints(tool: "types.Tool") -> dict[str, Any] | None:
    return None if tool.annotations is None else tool.annotations.model_dump(exclude_none=True)


def _only_reads(tool: "types.Tool") -> bool:
    return tool.annotations is not None and tool.annotations.readOnlyHint is True


def _with_distinct_names(lists: Sequence[ServerList]) -> list[ServerList]:
    from graph_agent.databricks.mcp_tools import with_distinct_names

    names = iter(with_distinct_names([one.tool for listed in lists for one in listed.tools]))
    return [replace(listed, tools=[_renamed(one, next(names)) for one in listed.tools]) for listed in lists]


def _renamed(one: ServedTool, tool: RemoteTool) -> ServedTool:
    if tool is one.tool:
        return one
    return replace(one, tool=tool, schema=convert_to_openai_tool(tool))

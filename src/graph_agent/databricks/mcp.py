"""Tools of MCP servers for `make_planner` and `make_tools`: listed once per user, and called over open sessions.

data = McpTools([McpServer.functions("main.tools"), McpServer.at("https://host/mcp", name="weather")])
"""

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from langchain_core.tools import ToolException

from graph_agent.app_context import PerApp, current_settings
from graph_agent.contract import ListedTools
from graph_agent.databricks.clients import actor, workspace_client
from graph_agent.databricks.mcp_errors import REASONS, explain_failure
from graph_agent.databricks.mcp_failure import ExchangeFailed
from graph_agent.databricks.mcp_identity import identity, session_headers
from graph_agent.databricks.mcp_servers import McpServer
from graph_agent.databricks.remote_tool import RemoteTool
from graph_agent.databricks.search_threads import SearchThreads
from graph_agent.errors import ConfigurationError, RetrievalFailed, ToolFailed, WorkspaceUnavailable
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.threads import run_in_call_thread

if TYPE_CHECKING:
    from graph_agent.databricks.mcp_sessions import Session, Sessions

__all__ = ["McpServer", "McpTools"]

logger = logging.getLogger(__name__)

LIST_SECONDS = 10.0
"""Limit for listing a server's tools, sign-in and opening the session included. A turn waits for it at most once."""

MOST_LISTS = 256
"""Sessions and tool lists kept at the same time, one per server and user. The least recently used is dropped first."""


@dataclass
class _ToolList:
    """The tools of one server for one identity, or why they are missing, and until when that is valid."""

    tools: Sequence[RemoteTool] = ()
    warning: str | None = None
    until: float = 0.0
    failures: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class _LoopState:
    """The state of one event loop of an app. Connections and locks cannot be shared between loops."""

    sessions: "Sessions"
    host: str | None = None
    lists: "OrderedDict[tuple[str, str], _ToolList]" = field(default_factory=OrderedDict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_Loops = WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState]


class McpTools:
    """A tool source. Creating it makes no call. One object serves every user, app and event loop of the process.

    A list of tools is valid for `list_seconds`. After a server could not be listed, it is not asked again for
    `pause_seconds`, which doubles with each further failure up to one minute. Meanwhile its tools are missing, and the
    list has a warning. Sessions end after `idle_seconds` without a call.
    """

    def __init__(
        self,
        servers: Sequence[McpServer],
        *,
        list_seconds: float = 600.0,
        pause_seconds: float = 5.0,
        idle_seconds: float = 600.0,
    ) -> None:
        names = [server.name for server in servers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigurationError(f"two MCP servers are named {twice[0]!r}; give each its own name")
        self._servers = tuple(servers)
        self._list_seconds = list_seconds
        self._pause_seconds = pause_seconds
        self._idle_seconds = idle_seconds
        # Not the default executor: on a dead host the SDK takes 20 s to give up, and a stopping service would wait.
        self._threads = PerApp(lambda: SearchThreads("workspace", most=4), close=SearchThreads.close)
        self._loops: PerApp[_Loops] = PerApp(WeakKeyDictionary, close=_end_sessions)

    @property
    def servers(self) -> tuple[McpServer, ...]:
        """The servers it was created with."""
        return self._servers

    async def tools(self) -> ListedTools:
        """The tools of every server that the run's identity can reach, and a warning for each other server.

        Raises:
            Unauthenticated: a server is used on the user's behalf, and there is no token or it has expired.
        """
        # Before the first await: a run without a token must not get the tools of some servers.
        keys = [identity(server) for server in self._servers]
        state = await self._loop_state()
        asked = (self._listed(state, server, key) for server, key in zip(self._servers, keys, strict=True))
        lists = await asyncio.gather(*asked)
        return ListedTools(
            _with_distinct_names([tool for one in lists for tool in one.tools]),
            [one.warning for one in lists if one.warning is not None],
        )

    async def warm(self) -> None:
        """List the servers that are used as the app or without credentials, so that the first run does not have to."""
        state = await self._loop_state()
        known = [server for server in self._servers if server.acting_as == "nobody" or actor(server.acting_as) == "app"]
        await asyncio.gather(*(self._listed(state, server, identity(server)) for server in known))

    async def close(self) -> None:
        """End the sessions of this app and event loop. Otherwise they end with the app or the loop."""
        await _end_sessions(self._loops())

    async def _listed(self, state: _LoopState, server: McpServer, key: str) -> _ToolList:
        entry = state.lists.setdefault((server.name, key), _ToolList())
        state.lists.move_to_end((server.name, key))
        while len(state.lists) > MOST_LISTS:
            state.lists.popitem(last=False)
        if time.monotonic() < entry.until:
            return entry
        async with entry.lock:
            # Another run may have listed the server while this one waited for the lock.
            if time.monotonic() >= entry.until:
                await self._list(state, server, key, entry)
        return entry

    async def _list(self, state: _LoopState, server: McpServer, key: str, entry: _ToolList) -> None:
        from mcp import McpError

        from graph_agent.databricks.mcp_tools import usable_tools

        seconds = min(LIST_SECONDS, current_settings().request_seconds)
        try:
            async with asyncio.timeout(seconds):
                listed = await self._with_session(state, server, key, lambda open: open.tools(seconds=seconds))
                # In a thread: checking schemas takes milliseconds for each tool.
                found = await self._threads().run(usable_tools, server, listed, lambda name: self._caller(server, name))
        except TimeoutError:
            self._missing(server, entry, REASONS["slow"])
        except ExchangeFailed as failure:
            self._missing(server, entry, explain_failure(failure, server), wait=failure.wait)
        except McpError:
            self._missing(server, entry, "it refused to list them")
        except (ToolFailed, RetrievalFailed) as failure:
            self._missing(server, entry, failure.message)
        else:
            if found.warning is not None:
                logger.warning("%s", found.warning)
            entry.tools, entry.warning, entry.failures = found.tools, found.warning, 0
            entry.until = time.monotonic() + self._list_seconds

    def _missing(self, server: McpServer, entry: _ToolList, reason: str, *, wait: float | None = None) -> None:
        entry.tools, entry.warning = (), f"The tools of {server.name} are not available now: {reason}."
        pause = min(self._pause_seconds * 2**entry.failures, 60.0)
        entry.until = time.monotonic() + max(pause, min(wait or 0.0, self._list_seconds))
        # Bounded, so that the power above stays small however long the server is down.
        entry.failures = min(entry.failures + 1, 10)
        logger.warning("the tools of MCP server %s are not available: %s", server.name, reason)

    def _caller(self, server: McpServer, name: str) -> Callable[[dict[str, Any]], Any]:
        async def ask(arguments: dict[str, Any]) -> Any:
            return await self._call(server, name, arguments)

        return ask

    async def _call(self, server: McpServer, name: str, arguments: Mapping[str, Any]) -> Any:
        """One call, with the identity of the run.

        Raises:
            ToolFailed: there was no answer. The message is ours.
            ToolException: the tool or its server reported an error. The message is theirs, for the model only.
        """
        # Before the first await, as in `tools`.
        key = identity(server)
        state = await self._loop_state()
        from graph_agent.databricks.mcp_results import result_of

        check_arguments(arguments)
        return await result_of(
            self._with_session(state, server, key, lambda open: open.call(name, arguments)),
            name=server.name,
            logged_as=server.name,
            why=lambda failure: explain_failure(failure, server),
        )

    async def _with_session(
        self, state: _LoopState, server: McpServer, key: str, ask: Callable[["Session"], Any]
    ) -> Any:
        """The result of `ask` on the open session, or once more on a new one if the server lost the session."""
        url, headers = await self._url(state, server), session_headers(server, key)
        return await state.sessions.asked((server.name, key), url, headers, ask)

    async def _url(self, state: _LoopState, server: McpServer) -> str:
        if server.kind == "custom":
            return server.place
        async with state.lock:
            if state.host is None:
                try:
                    client = await self._threads().run(workspace_client)
                except (WorkspaceUnavailable, RetrievalFailed) as error:
                    raise ToolFailed(error.message) from None
                state.host = str(client.config.host).rstrip("/")
        return state.host + server.place

    async def _loop_state(self) -> _LoopState:
        loop, loops = asyncio.get_running_loop(), self._loops()
        if loop not in loops:
            # Late and in a thread: the SDK takes a second to import.
            sessions = await run_in_call_thread(sessions_class)
            # Again, as another task may have been here during the import.
            if loop not in loops:
                seconds = current_settings().request_seconds
                opened = sessions(most=MOST_LISTS, idle_seconds=self._idle_seconds, seconds=seconds)
                loops[loop] = _LoopState(opened)
        return loops[loop]


async def _end_sessions(loops: _Loops) -> None:
    """End the sessions of the running event loop."""
    state = loops.pop(asyncio.get_running_loop(), None)
    if state is not None:
        await state.sessions.close()


def _with_distinct_names(tools: list[RemoteTool]) -> list[RemoteTool]:
    # Without tools there is nothing to rename, and the module below imports the SDK.
    if not tools:
        return tools
    from graph_agent.databricks.mcp_tools import with_distinct_names

    return with_distinct_names(tools)


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments over which the SDK would end the whole session and log them."""
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ToolException(
            "the arguments contain half a character (a lone surrogate): write the whole character"
        ) from None
    except (ValueError, TypeError, RecursionError):
        raise ToolException("the arguments are not JSON: use finite numbers, strings, lists and objects") from None


def sessions_class() -> type["Sessions"]:
    with IMPORT_LOCK:
        import graph_agent.databricks.mcp_results
        import graph_agent.databricks.mcp_tools  # noqa: F401
        from graph_agent.databricks.mcp_sessions import Sessions

    return Sessions

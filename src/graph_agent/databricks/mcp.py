"""Tools of MCP servers, for `make_planner` and `make_tools`: listed once for each user, called over kept sessions.

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
from graph_agent.databricks.mcp_identity import identity, session_headers
from graph_agent.databricks.mcp_servers import McpServer
from graph_agent.databricks.remote_tool import RemoteTool, shorten
from graph_agent.databricks.search_threads import SearchThreads
from graph_agent.errors import ConfigurationError, RetrievalFailed, ToolFailed, WorkspaceUnavailable
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.threads import run_in_call_thread

if TYPE_CHECKING:
    from graph_agent.databricks.mcp_sessions import Session, Sessions

__all__ = ["McpServer", "McpTools"]

logger = logging.getLogger(__name__)

LIST_SECONDS = 10.0
"""For finding out what a server has, sign-in and session included: a turn waits for it at most once."""

MOST_SEATS = 256
"""Sessions kept and lists remembered at once; a server and a user make one. The one unused for longest goes first."""


@dataclass
class _Seat:
    """One server for one identity: what it listed, or why it could not, and until when that holds."""

    tools: Sequence[RemoteTool] = ()
    warning: str | None = None
    until: float = 0.0
    failures: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class _Here:
    """What belongs to one event loop of an app."""

    sessions: "Sessions"
    host: str | None = None
    seats: "OrderedDict[tuple[str, str], _Seat]" = field(default_factory=OrderedDict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_Loops = WeakKeyDictionary[asyncio.AbstractEventLoop, _Here]


class McpTools:
    """A tool source. Making it does no work, and one object serves every user, app and event loop of the process.

    A list of tools holds for `list_seconds`. A server that could not be listed is left alone for `pause_seconds`,
    twice as long after each further failure up to a minute; meanwhile its tools are missing, with a warning. Sessions
    end after `idle_seconds` without a call.
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
            raise ConfigurationError(f"two MCP servers are named {twice[0]!r}; give each a name of its own")
        self._servers = tuple(servers)
        self._list_seconds = list_seconds
        self._pause_seconds = pause_seconds
        self._idle_seconds = idle_seconds
        # Not the default threads: on a dead host the SDK takes twenty seconds to give up, and a stopping service waits.
        self._threads = PerApp(lambda: SearchThreads("workspace", most=4), close=SearchThreads.close)
        self._loops: PerApp[_Loops] = PerApp(WeakKeyDictionary, close=_end_sessions)

    @property
    def servers(self) -> tuple[McpServer, ...]:
        """The servers it was made with."""
        return self._servers

    async def tools(self) -> ListedTools:
        """The tools of every server that can be reached by whoever the run acts for, and a warning for the others.

        Raises:
            Unauthenticated: a server is used on the user's behalf, and there is no token or it has expired.
        """
        # Before anything is awaited: nobody may be served halfway.
        keys = [identity(server) for server in self._servers]
        here = await self._here()
        asked = (self._listed(here, server, key) for server, key in zip(self._servers, keys, strict=True))
        seats = await asyncio.gather(*asked)
        return ListedTools(
            _told_apart([tool for seat in seats for tool in seat.tools]),
            [seat.warning for seat in seats if seat.warning is not None],
        )

    async def warm(self) -> None:
        """List the servers that are used as the app or as nobody, so that the first run need not."""
        here = await self._here()
        known = [server for server in self._servers if server.acting_as == "nobody" or actor(server.acting_as) == "app"]
        await asyncio.gather(*(self._listed(here, server, identity(server)) for server in known))

    async def close(self) -> None:
        """End the sessions of this app and event loop; without it they end with either."""
        await _end_sessions(self._loops())

    async def _listed(self, here: _Here, server: McpServer, key: str) -> _Seat:
        seat = here.seats.setdefault((server.name, key), _Seat())
        here.seats.move_to_end((server.name, key))
        while len(here.seats) > MOST_SEATS:
            here.seats.popitem(last=False)
        if time.monotonic() < seat.until:
            return seat
        async with seat.lock:
            if time.monotonic() >= seat.until:
                await self._list(here, server, key, seat)
        return seat

    async def _list(self, here: _Here, server: McpServer, key: str, seat: _Seat) -> None:
        from mcp import McpError

        from graph_agent.databricks.mcp_exchange import ExchangeFailed
        from graph_agent.databricks.mcp_tools import usable_tools

        seconds = min(LIST_SECONDS, current_settings().request_seconds)
        try:
            async with asyncio.timeout(seconds):
                offer = await self._with_session(here, server, key, lambda open: open.tools(seconds=seconds))
                found = await self._threads().run(usable_tools, server, offer, lambda name: self._asks(server, name))
        except TimeoutError:
            self._missing(server, seat, REASONS["slow"])
        except ExchangeFailed as failure:
            self._missing(server, seat, explain_failure(failure, server), wait=failure.wait)
        except McpError:
            self._missing(server, seat, "it refused to list them")
        except (ToolFailed, RetrievalFailed) as failure:
            self._missing(server, seat, failure.message)
        else:
            if found.warning is not None:
                logger.warning("%s", found.warning)
            seat.tools, seat.warning, seat.failures = found.tools, found.warning, 0
            seat.until = time.monotonic() + self._list_seconds

    def _missing(self, server: McpServer, seat: _Seat, reason: str, *, wait: float | None = None) -> None:
        seat.tools, seat.warning = (), f"The tools of {server.name} are not available now: {reason}."
        pause = min(self._pause_seconds * 2**seat.failures, 60.0)
        seat.until = time.monotonic() + max(pause, min(wait or 0.0, self._list_seconds))
        seat.failures = min(seat.failures + 1, 10)
        logger.warning("the tools of MCP server %s are not available: %s", server.name, reason)

    def _asks(self, server: McpServer, name: str) -> Callable[[dict[str, Any]], Any]:
        async def ask(arguments: dict[str, Any]) -> Any:
            return await self._call(server, name, arguments)

        return ask

    async def _call(self, server: McpServer, name: str, arguments: Mapping[str, Any]) -> Any:
        """One call, as whoever the run acts for.

        Raises:
            ToolFailed: no answer, in our words.
            ToolException: the tool or its server said no, in theirs: for the model alone.
        """
        key = identity(server)
        here = await self._here()
        from mcp import McpError

        from graph_agent.databricks.mcp_exchange import ExchangeFailed
        from graph_agent.databricks.mcp_results import read_result

        _check_arguments(arguments)
        try:
            result = await self._with_session(here, server, key, lambda open: open.call(name, arguments))
        except ExchangeFailed as failure:
            reason = explain_failure(failure, server)
            logger.warning("a call of a tool of MCP server %s failed: %s", server.name, reason)
            raise ToolFailed(f"{server.name} gave no answer: {reason}") from None
        except McpError as error:
            raise ToolException(shorten(error.error.message, 500)) from None
        text, structured = read_result(result)
        if result.isError:
            raise ToolException(text)
        return text, structured

    async def _with_session(self, here: _Here, server: McpServer, key: str, ask: Callable[["Session"], Any]) -> Any:
        """What `ask` gets from the open session, opened anew once if the server has forgotten it."""
        from graph_agent.databricks.mcp_exchange import ExchangeFailed

        url, headers = await self._url(here, server), session_headers(server, key)
        session = await here.sessions.get((server.name, key), url, headers)
        try:
            return await ask(session)
        except ExchangeFailed as failure:
            if failure.reason != "forgotten":
                raise
            session.end()
        session = await here.sessions.get((server.name, key), url, headers)
        return await ask(session)

    async def _url(self, here: _Here, server: McpServer) -> str:
        if server.kind == "custom":
            return server.place
        async with here.lock:
            if here.host is None:
                try:
                    client = await self._threads().run(workspace_client)
                except (WorkspaceUnavailable, RetrievalFailed) as error:
                    raise ToolFailed(error.message) from None
                here.host = str(client.config.host).rstrip("/")
        return here.host + server.place

    async def _here(self) -> _Here:
        loop, loops = asyncio.get_running_loop(), self._loops()
        if loop not in loops:
            # Late and in a thread: the SDK takes a second to import.
            sessions = await run_in_call_thread(_sessions_class)
            if loop not in loops:
                seconds = current_settings().request_seconds
                opened = sessions(most=MOST_SEATS, idle_seconds=self._idle_seconds, seconds=seconds)
                loops[loop] = _Here(opened)
        return loops[loop]


async def _end_sessions(loops: _Loops) -> None:
    """Those of the running event loop."""
    here = loops.pop(asyncio.get_running_loop(), None)
    if here is not None:
        await here.sessions.close()


def _told_apart(tools: list[RemoteTool]) -> list[RemoteTool]:
    if not tools:
        return tools
    from graph_agent.databricks.mcp_tools import with_distinct_names

    return with_distinct_names(tools)


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    """The SDK would end the session over them, and log them."""
    try:
        json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ToolException("the arguments hold half a character (a lone surrogate): write it whole") from None
    except (ValueError, TypeError, RecursionError):
        raise ToolException("the arguments are not JSON: write finite numbers, texts, lists and objects") from None


def _sessions_class() -> type["Sessions"]:
    with IMPORT_LOCK:
        import graph_agent.databricks.mcp_results
        import graph_agent.databricks.mcp_tools  # noqa: F401
        from graph_agent.databricks.mcp_sessions import Sessions

    return Sessions

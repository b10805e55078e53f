"""Open sessions with MCP servers: one for each server and identity, kept for the next call."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client

from graph_agent.databricks.cookies import reject_cookies
from graph_agent.databricks.mcp_exchange import FAILED, Exchange, ExchangeFailed, PerRequest
from graph_agent.threads import run_in_call_thread

MOST_TOOLS = 256
"""Of one server; a model chooses badly among far fewer."""

MOST_PAGES = 32
"""Of one list of tools."""

Headers = Callable[[], Awaitable[Mapping[str, str]]]


class _Page(types.PaginatedResult):
    """A page of the list whose tools are not looked at yet: one that cannot be read must not cost the others."""

    tools: list[Any]


Answer = TypeVar("Answer", _Page, types.CallToolResult)


@dataclass(frozen=True, slots=True)
class ListedTools:
    """What a server lists."""

    tools: Sequence[types.Tool]
    unreadable: int = 0
    """How many entries are no tools."""

    beyond: int = 0
    """How many more it listed than are taken."""

    endless: bool = False
    """Whether its list went on after the last page that was read."""

    def __iter__(self) -> Iterator[types.Tool]:
        return iter(self.tools)


class Session:
    """One open session, entered and left in a task of its own: the scopes it is made of must not cross tasks."""

    def __init__(self, url: str, http: httpx.AsyncClient, headers: Headers, *, seconds: float) -> None:
        self._url = url
        self._exchange = Exchange(http, PerRequest(headers), seconds=seconds)
        self._seconds = seconds
        self._end = asyncio.Event()
        self._opened: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        self._asking = 0
        # A context of its own: the run that happens to open it, with its caller's token, must not live in it for long.
        self._task = asyncio.create_task(self._hold(), context=Context())

    @property
    def alive(self) -> bool:
        return not self._task.done() and not self._end.is_set()

    @property
    def busy(self) -> bool:
        return self._asking > 0

    async def tools(self, *, seconds: float) -> "ListedTools":
        """The tools of the server, at most `MOST_TOOLS`, and how many there are beside them."""
        found: dict[str, types.Tool] = {}
        cursor, seen, unreadable = None, set[str](), 0
        for _ in range(MOST_PAGES):
            page = types.PaginatedRequestParams(cursor=cursor) if cursor else None
            request = types.ClientRequest(types.ListToolsRequest(params=page))
            answer = await self._ask(request, _Page, seconds=seconds)
            for raw in answer.tools:
                if (tool := _tool(raw)) is None:
                    unreadable += 1
                else:
                    found.setdefault(tool.name, tool)
            cursor = answer.nextCursor
            if not cursor or cursor in seen:
                # A cursor that was given before leads in a circle.
                cursor = None
                break
            seen.add(cursor)
        tools, beyond = list(found.values())[:MOST_TOOLS], max(len(found) - MOST_TOOLS, 0)
        return ListedTools(tools, unreadable=unreadable, beyond=beyond, endless=cursor is not None)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """One request, and no more: the SDK's own `call_tool` lists the tools again to check the result's schema."""
        params = types.CallToolRequestParams(name=name, arguments=dict(arguments))
        request = types.ClientRequest(types.CallToolRequest(params=params))
        return await self._ask(request, types.CallToolResult, seconds=self._seconds)

    def end(self) -> None:
        """Let its task leave it."""
        self._end.set()

    async def ended(self) -> None:
        """Once its task has left it."""
        await asyncio.wait([self._task])

    async def _ask(self, request: types.ClientRequest, kind: type[Answer], *, seconds: float) -> Answer:
        """The answer, or what became of it.

        Raises:
            ExchangeFailed: there is none.
            McpError: the server refused the request in the protocol's own words.
        """
        asked = asyncio.create_task(self._asked(request, kind))
        self._asking += 1
        try:
            await asyncio.wait([asked, self._task], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            raise ExchangeFailed("cut" if self._task.done() else "slow")
        finally:
            self._asking -= 1
            asked.cancel()

    async def _asked(self, request: types.ClientRequest, kind: type[Answer]) -> Answer:
        session = await asyncio.shield(self._opened)
        try:
            # The id that `send_request` is about to give: it tells nobody which one it was.
            with self._exchange.expected(session._request_id):
                return await session.send_request(request, kind)
        except McpError as error:
            raise _failure(error) or error from None
        except ValueError as error:
            # The answer is JSON-RPC, but not what was asked for; pydantic's error quotes it.
            raise ExchangeFailed("foreign") from error

    async def _hold(self) -> None:
        try:
            async with (
                httpx.AsyncClient(transport=self._exchange, timeout=self._seconds) as client,
                streamable_http_client(self._url, http_client=client) as (read, write, _),
                ClientSession(read, write) as session,
            ):
                # A session that never opens would be waited for by every call from now on.
                async with asyncio.timeout(self._seconds):
                    await session.initialize()
                self._opened.set_result(session)
                await self._end.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(_reason(error))
        finally:
            self._fail(ExchangeFailed("cut"))

    def _fail(self, failure: ExchangeFailed) -> None:
        if not self._opened.done():
            self._opened.set_exception(failure)
            # Whoever waited may have left.
            self._opened.exception()


class Sessions:
    """The sessions of one event loop, over one pool of connections, until they are idle for `idle_seconds`."""

    def __init__(self, *, most: int, idle_seconds: float, seconds: float) -> None:
        self._most = most
        self._idle = idle_seconds
        self._seconds = seconds
        self._open: OrderedDict[tuple[str, str], tuple[Session, float]] = OrderedDict()
        self._http: httpx.AsyncClient | None = None
        self._lock = asyncio.Lock()
        self._keeper = asyncio.create_task(self._keep(), context=Context())
        # It logs the ids of sessions, which are half of what it takes to use one. Set for the whole process, as loggers
        # are, unless the process has chosen a level itself.
        library = logging.getLogger("mcp.client.streamable_http")
        if library.level == logging.NOTSET:
            library.setLevel(logging.WARNING)

    async def get(self, key: tuple[str, str], url: str, headers: Headers) -> Session:
        """The open session of that key, or a new one."""
        async with self._lock:
            if self._http is None:
                # In a thread: reading the certificates takes 50 ms.
                self._http = await run_in_call_thread(_http_client, self._seconds)
        session, _ = self._open.get(key, (None, 0.0))
        if session is None or not session.alive:
            session = Session(url, self._http, headers, seconds=self._seconds)
        self._open[key] = (session, time.monotonic())
        self._open.move_to_end(key)
        self._end(list(self._open)[: max(len(self._open) - self._most, 0)])
        return session

    def _end(self, keys: list[tuple[str, str]]) -> None:
        """Those of them in which no call is under way."""
        for key in keys:
            if not self._open[key][0].busy:
                self._open.pop(key)[0].end()

    async def close(self) -> None:
        """End them all."""
        self._keeper.cancel()
        await asyncio.wait([self._keeper])

    async def _keep(self) -> None:
        """Ends idle sessions, and all of them with the loop."""
        try:
            while True:
                await asyncio.sleep(self._idle / 4)
                limit = time.monotonic() - self._idle
                self._end([key for key, (_, used) in self._open.items() if used < limit])
        finally:
            left = [session for session, _ in self._open.values()]
            self._open.clear()
            for session in left:
                session.end()
            await asyncio.gather(*(session.ended() for session in left))
            if self._http is not None:
                await self._http.aclose()


def _tool(raw: Any) -> types.Tool | None:
    try:
        return types.Tool.model_validate(raw)
    except (ValueError, RecursionError):
        return None


def _http_client(seconds: float) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=64, keepalive_expiry=60)
    shared = httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(seconds, connect=min(seconds, 5.0)))
    reject_cookies(shared.cookies.jar)
    return shared


def _failure(error: McpError) -> ExchangeFailed | None:
    """What the exchange reported by way of the protocol."""
    if error.error.code != FAILED or not isinstance(error.error.data, dict):
        return None
    told = error.error.data
    return ExchangeFailed(error.error.message, status=told.get("status"), wait=told.get("wait"))  # type: ignore[arg-type]


def _reason(error: BaseException) -> ExchangeFailed:
    """The failure within what the task groups of the SDK raise together."""
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if isinstance(error, McpError):
        return _failure(error) or ExchangeFailed("foreign")
    if isinstance(error, TimeoutError):
        return ExchangeFailed("slow")
    return error if isinstance(error, ExchangeFailed) else ExchangeFailed("foreign")

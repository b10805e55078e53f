"""Open sessions with MCP servers: one per server and identity, kept for the next call."""

import asyncio
import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import httpx
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client

from graph_agent.databricks.cookies import reject_cookies
from graph_agent.databricks.mcp_exchange import Exchange, MayMove, PerRequest
from graph_agent.databricks.mcp_failure import FAILED, ExchangeFailed
from graph_agent.threads import run_in_call_thread

MOST_TOOLS = 256
"""Tools of one server. A model already chooses badly among far fewer."""

MOST_PAGES = 32
"""Pages of one list of tools, as a faulty server may never end its list."""

Headers = Callable[[], Awaitable[Mapping[str, str]]]


class _Page(types.PaginatedResult):
    """A page of the list with its tools still unparsed, so that one invalid tool does not make the others fail."""

    tools: list[Any]


Answer = TypeVar("Answer", _Page, types.CallToolResult)


@dataclass(frozen=True, slots=True)
class ListedTools:
    """The list of a server."""

    tools: Sequence[types.Tool]
    unreadable: int = 0
    """Entries that are not valid tools."""

    beyond: int = 0
    """Listed tools beyond `MOST_TOOLS`, which are not used."""

    endless: bool = False
    """Whether the list continued after the last page that was read."""

    def __iter__(self) -> Iterator[types.Tool]:
        return iter(self.tools)


class Session:
    """One open session. A separate task enters and leaves it, as the SDK's cancel scopes must not cross tasks."""

    def __init__(
        self,
        url: str,
        http: httpx.AsyncClient,
        headers: Headers,
        *,
        seconds: float,
        may_move: MayMove = lambda url: True,
    ) -> None:
        self._url = url
        self._exchange = Exchange(http, PerRequest(headers), seconds=seconds, may_move=may_move)
        self._seconds = seconds
        self._end = asyncio.Event()
        self._opened: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        self._asking = 0
        # An empty context: a session outlives the run that opened it and must not keep that run's token.
        self._task = asyncio.create_task(self._hold(), context=Context())

    @property
    def alive(self) -> bool:
        return not self._task.done() and not self._end.is_set()

    @property
    def busy(self) -> bool:
        return self._asking > 0

    async def tools(self, *, seconds: float) -> "ListedTools":
        """The tools of the server, at most `MOST_TOOLS`, and how many more there are."""
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
                # A cursor seen before would lead in a circle.
                cursor = None
                break
            seen.add(cursor)
        tools, beyond = list(found.values())[:MOST_TOOLS], max(len(found) - MOST_TOOLS, 0)
        return ListedTools(tools, unreadable=unreadable, beyond=beyond, endless=cursor is not None)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Call a tool with exactly one request. The SDK's `call_tool` also lists the tools to check the result."""
        params = types.CallToolRequestParams(name=name, arguments=dict(arguments))
        request = types.ClientRequest(types.CallToolRequest(params=params))
        return await self._ask(request, types.CallToolResult, seconds=self._seconds)

    def end(self) -> None:
        """Ask its task to close it."""
        self._end.set()

    async def ended(self) -> None:
        """Wait until its task has closed it."""
        await asyncio.wait([self._task])

    async def _ask(self, request: types.ClientRequest, kind: type[Answer], *, seconds: float) -> Answer:
        """The answer to a request.

        Raises:
            ExchangeFailed: there is no answer.
            McpError: the server refused the request with an error of the protocol.
        """
        asked = asyncio.create_task(self._asked(request, kind))
        self._asking += 1
        try:
            # The session's task too: if it ends first, the SDK never answers this request.
            await asyncio.wait([asked, self._task], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            raise ExchangeFailed("cut" if self._task.done() else "slow")
        finally:
            self._asking -= 1
            asked.cancel()

    async def _asked(self, request: types.ClientRequest, kind: type[Answer]) -> Answer:
        # Shielded: a caller that leaves must not cancel the future that all other callers wait for.
        session = await asyncio.shield(self._opened)
        try:
            # The id that `send_request` is about to use. It returns it to nobody.
            with self._exchange.expected(session._request_id):
                return await session.send_request(request, kind)
        except McpError as error:
            raise _failure(error) or error from None
        except ValueError as error:
            # The answer is JSON-RPC, but not of the requested type. Pydantic's error quotes it, so it is not shown.
            raise ExchangeFailed("foreign") from error

    async def _hold(self) -> None:
        try:
            async with (
                httpx.AsyncClient(transport=self._exchange, timeout=self._seconds) as client,
                streamable_http_client(self._url, http_client=client) as (read, write, _),
                ClientSession(read, write) as session,
            ):
                # Without a limit, every later call would wait for a session that never opens.
                async with asyncio.timeout(self._seconds):
                    await session.initialize()
                self._opened.set_result(session)
                await self._end.wait()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the SDK raises groups of any error; all is kept
            self._fail(_reason(error))
        finally:
            # Does nothing where the session has opened or already failed.
            self._fail(ExchangeFailed("cut"))

    def _fail(self, failure: ExchangeFailed) -> None:
        if not self._opened.done():
            self._opened.set_exception(failure)
            # Mark the exception as retrieved: asyncio logs it otherwise if all callers have left.
            self._opened.exception()


class Sessions:
    """The sessions of one event loop over one connection pool. Each ends after it was idle for `idle_seconds`."""

    def __init__(self, *, most: int, idle_seconds: float, seconds: float, may_move: MayMove = lambda url: True) -> None:
        """`may_move` says whether a redirect to another address of a server is followed."""
        self._most = most
        self._may_move = may_move
        self._idle = idle_seconds
        self._seconds = seconds
        self._open: OrderedDict[tuple[str, str], tuple[Session, float]] = OrderedDict()
        self._http: httpx.AsyncClient | None = None
        self._lock = asyncio.Lock()
        self._keeper = asyncio.create_task(self._keep(), context=Context())
        # The library logs session ids, which are half of the credentials for a session. The level applies to the whole
        # process, as loggers do, unless the process has already set one.
        library = logging.getLogger("mcp.client.streamable_http")
        if library.level == logging.NOTSET:
            library.setLevel(logging.WARNING)

    async def get(self, key: tuple[str, str], url: str, headers: Headers) -> Session:
        """The open session for that key, or a new one."""
        async with self._lock:
            if self._http is None:
                # In a thread, because the first pool loads the certificates.
                self._http = await run_in_call_thread(_http_client, self._seconds)
        session, _ = self._open.get(key, (None, 0.0))
        if session is None or not session.alive:
            session = Session(url, self._http, headers, seconds=self._seconds, may_move=self._may_move)
        self._open[key] = (session, time.monotonic())
        self._open.move_to_end(key)
        self._end(list(self._open)[: max(len(self._open) - self._most, 0)])
        return session

    async def asked(self, key: tuple[str, str], url: str, headers: Headers, ask: Callable[[Session], Any]) -> Any:
        """The result of `ask` on the session for that key, or once more on a new one if the server lost the session.

        Raises:
            ExchangeFailed, McpError: as `ask` raises them.
        """
        session = await self.get(key, url, headers)
        try:
            return await ask(session)
        except ExchangeFailed as failure:
            # Only a lost session proves that the server did not carry out the request.
            if failure.reason != "forgotten":
                raise
            session.end()
        return await ask(await self.get(key, url, headers))

    def _end(self, keys: list[tuple[str, str]]) -> None:
        """End those of them that have no call in progress."""
        for key in keys:
            if not self._open[key][0].busy:
                self._open.pop(key)[0].end()

    async def close(self) -> None:
        """End all sessions."""
        await asyncio.wait([self.end()])

    def end(self) -> asyncio.Task[None]:
        """Begin to end all sessions. The task is done when they have ended."""
        self._keeper.cancel()
        return self._keeper

    async def _keep(self) -> None:
        """End idle sessions, and all sessions when the loop ends."""
        try:
            while True:
                # A quarter: a session ends at most 25 % later than `idle_seconds`.
                await asyncio.sleep(self._idle / 4)
                limit = time.monotonic() - self._idle
                self._end([key for key, (_, used) in self._open.items() if used < limit])
        finally:
            remaining = [session for session, _ in self._open.values()]
            self._open.clear()
            for session in remaining:
                session.end()
            await asyncio.gather(*(session.ended() for session in remaining))
            # After the sessions, as each ends with a request over this pool.
            if self._http is not None:
                await self._http.aclose()


def _tool(raw: Any) -> types.Tool | None:
    try:
        return types.Tool.model_validate(raw)
    except (ValueError, RecursionError):
        return None


@cache
def _certificates() -> ssl.SSLContext:
    """The certificates that the process trusts. Each run with servers of its client has a pool of its own, and loading
    them takes 25 ms of CPU time."""
    return httpx.create_ssl_context()


def _http_client(seconds: float) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=64, keepalive_expiry=60)
    timeout = httpx.Timeout(seconds, connect=min(seconds, 5.0))
    shared = httpx.AsyncClient(verify=_certificates(), limits=limits, timeout=timeout)
    reject_cookies(shared.cookies.jar)
    return shared


def _failure(error: McpError) -> ExchangeFailed | None:
    """The failure that `Exchange` reported as an error of the protocol, if it is one."""
    if error.error.code != FAILED or not isinstance(error.error.data, dict):
        return None
    data = error.error.data
    return ExchangeFailed(error.error.message, status=data.get("status"), wait=data.get("wait"))  # type: ignore[arg-type]


def _reason(error: BaseException) -> ExchangeFailed:
    """The failure inside the exception groups that the SDK's task groups raise."""
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if isinstance(error, McpError):
        return _failure(error) or ExchangeFailed("foreign")
    if isinstance(error, TimeoutError):
        return ExchangeFailed("slow")
    return error if isinstance(error, ExchangeFailed) else ExchangeFailed("foreign")

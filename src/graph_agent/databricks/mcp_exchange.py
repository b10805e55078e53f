"""One HTTP exchange with an MCP server, made so that it always ends in an answer to its own request.

The SDK's transport ends the whole session, with every call in it, when the server refuses one request. It waits
forever on a stream that was cut, and logs what it cannot read. Here each failure becomes the JSON-RPC error of the
request it belongs to, and the session continues.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import Context
from typing import Any

import httpx

from graph_agent.databricks.deadline import Deadline
from graph_agent.databricks.mcp_body import media_type, pause, read_pieces
from graph_agent.databricks.mcp_event_stream import EVENTS, EventStream
from graph_agent.databricks.mcp_failure import ExchangeFailed
from graph_agent.databricks.mcp_messages import AnswerUnreadable, read_answer, session_is_lost
from graph_agent.databricks.retry_after import retry_after

RETRIES = 2
"""How often a request is sent again after 429 or 503. The server did not carry it out, so this is safe."""

LONGEST_PAUSE = 5.0
"""Longest wait in seconds before a retry, as a person is waiting. A server that asks for more gets no retry."""

LOST = (400, 404, 410, 503)
"""Statuses with which servers refuse a session they no longer know. 503 counts only after the retries."""

MOST_EXPLAINED = 16_384
"""Bytes read of a refusal to see whether it is about the session."""

GOODBYE_SECONDS = 2.0
"""Limit for the request that ends a session or cancels a call. Nothing depends on its answer, and a stopping service
must not wait for it."""

KEPT = ("mcp-session-id", "set-cookie")
"""Headers passed on to the session. Its cookies belong to it alone, as they may identify a user."""


MayMove = Callable[[str], bool]


class PerRequest(httpx.Auth):
    """Gets the headers for each request, as the app's token may need to be renewed."""

    def __init__(self, headers: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._headers = headers

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        try:
            headers = await self._headers()
        except Exception as error:
            raise ExchangeFailed("credentials") from error
        request.headers.update(headers)
        yield request


class Exchange(httpx.AsyncBaseTransport):
    """Sends one session's requests over the `shared` client with that session's credentials.

    Each request takes at most `seconds`. `may_move` says whether a redirect to an address of the same server is
    followed.
    """

    def __init__(
        self, shared: httpx.AsyncClient, auth: httpx.Auth, *, seconds: float, may_move: MayMove = lambda url: True
    ) -> None:
        self._shared = shared
        self._may_move = may_move
        self._auth = auth
        self._seconds = seconds
        self._expected: dict[Any, Deadline] = {}
        self._sent: dict[Any, httpx.Request] = {}
        self._cancelling: set[asyncio.Task[None]] = set()

    @contextmanager
    def expected(self, request_id: Any) -> Iterator[None]:
        """The time in which a caller waits for that request.

        If the caller is cancelled, the request ends and the server gets a cancellation. The SDK's own task would
        keep waiting and hold a connection that all users share.
        """
        deadline = self._expected[request_id] = Deadline(self._seconds)
        try:
            yield
        except asyncio.CancelledError:
            deadline.forward()
            if (sent := self._sent.get(request_id)) is not None:
                # An empty context, so that the task does not keep the caller's token.
                task = asyncio.create_task(self._cancel_request(sent, request_id), context=Context())
                self._cancelling.add(task)
                task.add_done_callback(self._cancelling.discard)
            raise
        finally:
            del self._expected[request_id]
            self._sent.pop(request_id, None)

    async def aclose(self) -> None:
        if self._cancelling:
            await asyncio.wait(self._cancelling)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            # The SDK's standing stream for messages that the server sends on its own. Nothing here uses them, and one
            # open connection per user is expensive. 405 is the protocol's answer for "not supported".
            return httpx.Response(405, request=request)
        if request.method == "DELETE":
            return await self._goodbye(request)
        message = json.loads(await request.aread())
        request_id = message.get("id") if "method" in message else None
        deadline = self._expected.get(request_id)
        if deadline is not None:
            self._sent[request_id] = request
        elif request_id is None or message["method"] == "initialize":
            deadline = Deadline(self._seconds)
        else:
            # The caller left before the SDK sent the request.
            return _json(ExchangeFailed("cut").answer(request_id))
        try:
            response = await self._answer(request, request_id, deadline)
        except ExchangeFailed as failure:
            # A failed notification has no answer to carry the error. The next request reports the problem.
            if request_id is None:
                return httpx.Response(202, request=request)
            if message["method"] == "initialize" and failure.status == 400:
                # The versions of MCP from 2026 on have no such method.
                failure = ExchangeFailed("version", status=400)
            return _json(failure.answer(request_id))
        return response

    async def _answer(self, request: httpx.Request, request_id: Any, deadline: Deadline) -> httpx.Response:
        response = await self._accepted(request, deadline)
        kind = media_type(response)
        kept = [(name, value) for name, value in response.headers.multi_items() if name in KEPT]
        if response.status_code == 202 or request_id is None:
            await response.aclose()
            return httpx.Response(202, headers=kept)
        if kind == EVENTS:
            again = _resume_request(request, response)
            return httpx.Response(
                200,
                headers=[*kept, ("content-type", EVENTS)],
                stream=EventStream(response, request_id, deadline, lambda last: self._resumed(again, last, deadline)),
            )
        if kind != "application/json":
            await response.aclose()
            raise ExchangeFailed("foreign")
        body = b"".join([piece async for piece in read_pieces(response, deadline)])
        _check_answer(body, request_id, "mcp-session-id" in request.headers)
        return _json(body, kept)

    async def _resumed(self, request: httpx.Request, last_id: str, deadline: Deadline) -> httpx.Response:
        """The continuation of a stream that the server closed, after the event `last_id`."""
        request = httpx.Request("GET", request.url, headers={**request.headers, "last-event-id": last_id})
        try:
            response = await self._accepted(request, deadline)
        except ExchangeFailed as failure:
            # The server may have carried out the call. Any other reason could make a caller repeat it in a new session.
            raise ExchangeFailed(failure.reason if failure.reason in ("slow", "credentials") else "cut") from None
        if media_type(response) != EVENTS:
            await response.aclose()
            raise ExchangeFailed("cut")
        return response

    async def _accepted(self, request: httpx.Request, deadline: Deadline) -> httpx.Response:
        """The first response with a success status. Retries refusals that may be temporary.

        Raises:
            ExchangeFailed: there was none within the retries and the deadline.
        """
        for attempt in range(RETRIES + 1):
            try:
                async with deadline.kept():
                    response = await self._shared.send(request, auth=self._auth, stream=True)
            except (TimeoutError, httpx.TimeoutException) as error:
                raise ExchangeFailed("slow") from error
            except httpx.ConnectError as error:
                raise ExchangeFailed("unreachable") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise ExchangeFailed("cut") from error
            if response.is_success:
                return response
            in_session = "mcp-session-id" in request.headers
            lost = in_session and await _reports_lost_session(response, deadline)
            await response.aclose()
            if lost:
                raise ExchangeFailed("forgotten", status=response.status_code)
            if (moved := _moved(response)) is not None and self._may_move(str(moved.url)):
                request = moved
                continue
            asked = retry_after(response.headers)
            if response.status_code in (429, 503) and asked is not None and asked > LONGEST_PAUSE:
                raise ExchangeFailed("refused", status=response.status_code, wait=asked)
            wait = max(0.5 * 2**attempt if asked is None else asked, 0.1)
            late = asyncio.get_running_loop().time() + wait >= deadline.ends
            if response.status_code not in (429, 503) or attempt == RETRIES or late:
                break
            await pause(wait, deadline)
        lost = in_session and response.status_code in LOST
        raise ExchangeFailed("forgotten" if lost else "refused", status=response.status_code)

    async def _cancel_request(self, sent: httpx.Request, request_id: Any) -> None:
        params = {"requestId": request_id, "reason": "the caller no longer waits for it"}
        message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        headers = {name: value for name, value in sent.headers.items() if name != "content-length"}
        request = httpx.Request("POST", sent.url, headers=headers, json=message)
        try:
            response = await self._accepted(request, Deadline(GOODBYE_SECONDS))
        except ExchangeFailed:
            return
        await response.aclose()

    async def _goodbye(self, request: httpx.Request) -> httpx.Response:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._shared.send(request, auth=self._auth)
        except (TimeoutError, httpx.HTTPError, ExchangeFailed):
            # Best effort: nothing depends on it.
            pass
        return httpx.Response(204, request=request)


def _check_answer(body: bytes, request_id: Any, in_session: bool) -> None:
    try:
        message = read_answer(body, request_id)
    except AnswerUnreadable as failure:
        raise ExchangeFailed(failure.reason) from None
    if in_session and session_is_lost(message.error):
        raise ExchangeFailed("forgotten")


async def _reports_lost_session(response: httpx.Response, deadline: Deadline) -> bool:
    """Whether the body of a refusal says that the server does not know the session."""
    body = b""
    try:
        async with aclosing(read_pieces(response, deadline)) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > MOST_EXPLAINED:
                    return False
    except ExchangeFailed:
        return False
    try:
        return session_is_lost(read_answer(body, None, of_anyone=True).error)
    except AnswerUnreadable:
        return False


def _resume_request(request: httpx.Request, response: httpx.Response) -> httpx.Request:
    """The request for the rest of the answer to `request`, without the id of the last event."""
    # The authorization is left out because `PerRequest` sets a current one.
    other = ("authorization", "content-type", "content-length")
    headers = {name: value for name, value in request.headers.items() if name not in other} | {"accept": EVENTS}
    if session := response.headers.get("mcp-session-id"):
        headers["mcp-session-id"] = session
    return httpx.Request("GET", request.url, headers=headers)


def _moved(response: httpx.Response) -> httpx.Request | None:
    """The request to repeat after a redirect to the same server. Credentials are sent to no other server."""
    moved, sent = response.next_request, response.request
    if moved is None or moved.method != sent.method:
        return None
    same = (moved.url.scheme, moved.url.netloc) == (sent.url.scheme, sent.url.netloc)
    return moved if same else None


def _json(body: bytes, headers: Sequence[tuple[str, str]] = ()) -> httpx.Response:
    return httpx.Response(200, headers=[*headers, ("content-type", "application/json")], content=body)

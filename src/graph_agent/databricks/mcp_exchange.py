"""One HTTP exchange with an MCP server, made so that it always ends in an answer to its own request.

The SDK's transport ends the whole session, with every call under way in it, when one request is refused; it waits for
ever on a stream that was cut, and logs what it cannot read. Here each failure becomes the JSON-RPC error of the
request it belongs to, and the session goes on.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from contextvars import Context
from typing import Any, Literal

import httpx

from graph_agent.databricks.deadline import Deadline
from graph_agent.databricks.mcp_messages import AnswerUnreadable, read_answer, read_event, session_is_lost
from graph_agent.databricks.retry_after import retry_after
from graph_agent.sse_events import EventReader

Reason = Literal["refused", "forgotten", "unreachable", "slow", "cut", "foreign", "garbled", "large", "credentials"]
FAILED = -32050
"""The JSON-RPC error code of failures found here; of the range left to implementations."""

MOST_BYTES = 4_194_304
"""Of one answer. A model can read a hundredth of it; more would only fill the memory."""

REPEATS = 2
"""How often a request that was refused as too much (429) or for now (503) is sent again: it was not carried out."""

LONGEST_PAUSE = 5.0
"""Seconds to wait before a repeat: a person is waiting. A server that asks for more is not asked again."""

LOOK_PAUSE = 0.5
"""Seconds before a server that closed its stream is asked for the rest, where it does not say how long."""

SHORTEST_LOOK = 0.1
"""Seconds between two such looks, whatever it says."""

LOST = (400, 404, 410, 503)
"""Statuses with which servers refuse a session they no longer know; 503 once repeats have not helped."""

MOST_CUTS = 2
"""Of one answer's streams that break off and can be asked for again; closing them in order is the server's right."""

MOST_EXPLAINED = 16_384
"""Bytes read of a refusal, to see whether it is of the session."""

GOODBYE_SECONDS = 2.0
"""For the request that ends a session or calls one off; nothing depends on it, and a stopping service must not wait."""

EVENTS = "text/event-stream"
KEPT = ("mcp-session-id", "set-cookie")
"""Headers the session is to see. Its cookies are its own: they may say who is signed in."""


class PerRequest(httpx.Auth):
    """Headers asked for at each request: the app's token may have to be minted."""

    def __init__(self, headers: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._headers = headers

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        try:
            headers = await self._headers()
        except Exception as error:
            raise ExchangeFailed("credentials") from error
        request.headers.update(headers)
        yield request


class ExchangeFailed(Exception):
    """Why there is no answer."""

    def __init__(self, reason: Reason, *, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.status = status
        self.wait = wait
        """Seconds the server asks to be left alone, where those are many."""

    def answer(self, request_id: Any) -> bytes:
        """It as the JSON-RPC answer to that request."""
        error = {"code": FAILED, "message": self.reason, "data": {"status": self.status, "wait": self.wait}}
        return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode()


class Exchange(httpx.AsyncBaseTransport):
    """Sends a session's requests over the `shared` client with credentials of its own, each for at most `seconds`."""

    def __init__(self, shared: httpx.AsyncClient, auth: httpx.Auth, *, seconds: float) -> None:
        self._shared = shared
        self._auth = auth
        self._seconds = seconds
        self._expected: dict[Any, Deadline] = {}
        self._sent: dict[Any, httpx.Request] = {}
        self._telling: set[asyncio.Task[None]] = set()

    @contextmanager
    def expected(self, request_id: Any) -> Iterator[None]:
        """Whoever asks that is waiting. If they leave, the request is broken off and the server told: the SDK's own
        task would wait on, with a connection that all users share."""
        deadline = self._expected[request_id] = Deadline(self._seconds)
        try:
            yield
        except asyncio.CancelledError:
            deadline.forward()
            if (sent := self._sent.get(request_id)) is not None:
                # A context of its own, without the caller's token.
                task = asyncio.create_task(self._call_off(sent, request_id), context=Context())
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)
            raise
        finally:
            del self._expected[request_id]
            self._sent.pop(request_id, None)

    async def aclose(self) -> None:
        if self._telling:
            await asyncio.wait(self._telling)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            # Messages a server sends unasked are of no use here, and a connection held open for each user costs much.
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
            # Left before it was sent.
            return _json(ExchangeFailed("cut").answer(request_id))
        try:
            response = await self._answer(request, request_id, deadline)
        except ExchangeFailed as failure:
            # Of a notification that failed, the next request tells.
            if request_id is None:
                return httpx.Response(202, request=request)
            return _json(failure.answer(request_id))
        return response

    async def _answer(self, request: httpx.Request, request_id: Any, deadline: Deadline) -> httpx.Response:
        response = await self._accepted(request, deadline)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        kept = [(name, value) for name, value in response.headers.multi_items() if name in KEPT]
        if response.status_code == 202 or request_id is None:
            await response.aclose()
            return httpx.Response(202, headers=kept)
        if kind == EVENTS:
            again = _look(request, response)
            return httpx.Response(
                200,
                headers=[*kept, ("content-type", EVENTS)],
                stream=_Events(response, request_id, deadline, lambda last: self._looked(again, last, deadline)),
            )
        if kind != "application/json":
            await response.aclose()
            raise ExchangeFailed("foreign")
        body = b"".join([piece async for piece in _pieces(response, deadline)])
        _check_answer(body, request_id, "mcp-session-id" in request.headers)
        return _json(body, kept)

    async def _looked(self, request: httpx.Request, last_id: str, deadline: Deadline) -> httpx.Response:
        """What follows in a stream that the server closed, to be asked for the rest later."""
        request = httpx.Request("GET", request.url, headers={**request.headers, "last-event-id": last_id})
        try:
            response = await self._accepted(request, deadline)
        except ExchangeFailed as failure:
            # The call may have been carried out: it is not made again, even in a new session.
            raise ExchangeFailed(failure.reason if failure.reason in ("slow", "credentials") else "cut") from None
        if response.headers.get("content-type", "").partition(";")[0].strip().lower() != EVENTS:
            await response.aclose()
            raise ExchangeFailed("cut")
        return response

    async def _accepted(self, request: httpx.Request, deadline: Deadline) -> httpx.Response:
        """The response to it once its status is a good one; refusals that may pass are repeated."""
        for repeat in range(REPEATS + 1):
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
            lost = in_session and await _tells_of_session(response, deadline)
            await response.aclose()
            if lost:
                raise ExchangeFailed("forgotten", status=response.status_code)
            if (moved := _moved(response)) is not None:
                request = moved
                continue
            asked = retry_after(response.headers)
            if response.status_code in (429, 503) and asked is not None and asked > LONGEST_PAUSE:
                raise ExchangeFailed("refused", status=response.status_code, wait=asked)
            pause = max(0.5 * 2**repeat if asked is None else asked, 0.1)
            late = asyncio.get_running_loop().time() + pause >= deadline.ends
            if response.status_code not in (429, 503) or repeat == REPEATS or late:
                break
            await _pause(pause, deadline)
        lost = in_session and response.status_code in LOST
        raise ExchangeFailed("forgotten" if lost else "refused", status=response.status_code)

    async def _call_off(self, sent: httpx.Request, request_id: Any) -> None:
        params = {"requestId": request_id, "reason": "nobody waits for it any more"}
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
            pass
        return httpx.Response(204, request=request)


class _Events(httpx.AsyncByteStream):
    """A stream of events, of which the session is shown the answer and what the server asks; it never ends without.

    A server may close it and be asked for the rest: `look` does, with the last event's id.
    """

    def __init__(
        self,
        response: httpx.Response,
        request_id: Any,
        deadline: Deadline,
        look: Callable[[str], Awaitable[httpx.Response]],
    ) -> None:
        self._response = response
        self._id = request_id
        self._deadline = deadline
        self._look = look

    async def __aiter__(self) -> AsyncIterator[bytes]:
        in_session = "mcp-session-id" in self._response.request.headers
        try:
            async with aclosing(self._data()) as found:
                async for data in found:
                    if (message := read_event(data, self._id)) is None:
                        continue
                    if message.answers and in_session and session_is_lost(message.error):
                        raise ExchangeFailed("forgotten")
                    yield b"event: message\ndata: " + message.body + b"\n\n"
                    if message.answers:
                        return
        except (ExchangeFailed, AnswerUnreadable) as failure:
            failed = failure if isinstance(failure, ExchangeFailed) else ExchangeFailed(failure.reason)
            yield b"event: message\ndata: " + failed.answer(self._id) + b"\n\n"

    async def _data(self) -> AsyncGenerator[bytes, None]:
        """The data of the messages, over as many streams as the server makes of them."""
        last_id, retry, cuts = None, LOOK_PAUSE, 0
        while True:
            events = EventReader(most_bytes=MOST_BYTES)
            try:
                async with aclosing(_data(self._response, events, self._deadline)) as found:
                    async for data in found:
                        yield data
            except ExchangeFailed as failure:
                cuts += 1
                if failure.reason != "cut" or cuts > MOST_CUTS:
                    raise
            last_id = events.last_id or last_id
            if last_id is None:
                raise ExchangeFailed("cut")
            retry = retry if events.retry is None else events.retry
            await _pause(max(retry, SHORTEST_LOOK), self._deadline)
            self._response = await self._look(last_id)

    async def aclose(self) -> None:
        await self._response.aclose()


async def _data(response: httpx.Response, events: EventReader, deadline: Deadline) -> AsyncGenerator[bytes, None]:
    """The data of the messages in a body."""
    async with aclosing(_pieces(response, deadline)) as pieces:
        async for piece in pieces:
            for event in events.feed(piece):
                if event.name in ("", "message"):
                    yield event.data.encode()
    if events.last_id is None:
        # Of an event that is not whole, the server can be asked for again.
        for event in events.end():
            yield event.data.encode()


def _check_answer(body: bytes, request_id: Any, in_session: bool) -> None:
    try:
        message = read_answer(body, request_id)
    except AnswerUnreadable as failure:
        raise ExchangeFailed(failure.reason) from None
    if in_session and session_is_lost(message.error):
        raise ExchangeFailed("forgotten")


async def _tells_of_session(response: httpx.Response, deadline: Deadline) -> bool:
    """Whether a refusal says that the session is not known."""
    body = b""
    try:
        async with aclosing(_pieces(response, deadline)) as pieces:
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


def _look(request: httpx.Request, response: httpx.Response) -> httpx.Request:
    """The request for the rest of the answer to `request`, but for the id of the last event."""
    other = ("authorization", "content-type", "content-length")
    headers = {name: value for name, value in request.headers.items() if name not in other} | {"accept": EVENTS}
    if session := response.headers.get("mcp-session-id"):
        headers["mcp-session-id"] = session
    return httpx.Request("GET", request.url, headers=headers)


async def _pause(seconds: float, deadline: Deadline) -> None:
    try:
        async with deadline.kept():
            await asyncio.sleep(seconds)
    except TimeoutError as error:
        raise ExchangeFailed("slow") from error


async def _pieces(response: httpx.Response, deadline: Deadline) -> AsyncGenerator[bytes, None]:
    """The body, until the deadline, and of a bounded size."""
    size, pieces = 0, response.aiter_bytes()
    try:
        while True:
            async with deadline.kept():
                piece = await anext(pieces, None)
            if piece is None:
                return
            size += len(piece)
            if size > MOST_BYTES:
                raise ExchangeFailed("large")
            yield piece
    except (TimeoutError, httpx.TimeoutException) as error:
        raise ExchangeFailed("slow") from error
    except httpx.HTTPError as error:
        raise ExchangeFailed("cut") from error
    finally:
        await response.aclose()


def _moved(response: httpx.Response) -> httpx.Request | None:
    """Where the same request is asked for again, on the same server: credentials go nowhere else."""
    moved, sent = response.next_request, response.request
    if moved is None or moved.method != sent.method:
        return None
    same = (moved.url.scheme, moved.url.netloc) == (sent.url.scheme, sent.url.netloc)
    return moved if same else None


def _json(body: bytes, headers: Sequence[tuple[str, str]] = ()) -> httpx.Response:
    return httpx.Response(200, headers=[*headers, ("content-type", "application/json")], content=body)

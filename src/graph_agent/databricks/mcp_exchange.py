"""One HTTP exchange with an MCP server, made so that it always ends in an answer to its own request.

The SDK's transport ends the whole session, with every call under way in it, when one request is refused; it waits for
ever on a stream that was cut, and logs what it cannot read. Here each failure becomes the JSON-RPC error of the
request it belongs to, and the session goes on.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Literal

import httpx
from mcp.types import JSONRPCError, JSONRPCMessage, JSONRPCResponse

from graph_agent.databricks.deadline import Deadline

Reason = Literal["refused", "forgotten", "unreachable", "slow", "cut", "foreign", "large", "credentials"]
FAILED = -32050
"""The JSON-RPC error code of failures found here; of the range left to implementations."""

MOST_BYTES = 4_194_304
"""Of one answer. A model can read a hundredth of it; more would only fill the memory."""

REPEATS = 2
"""How often a request that was refused as too much (429) or for now (503) is sent again: it was not carried out."""

LONGEST_PAUSE = 5.0
"""Seconds to wait before a repeat, whatever `Retry-After` says: a person is waiting."""

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

    def __init__(self, reason: Reason, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.status = status

    def answer(self, request_id: Any) -> bytes:
        """It as the JSON-RPC answer to that request."""
        error = {"code": FAILED, "message": self.reason, "data": {"status": self.status}}
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
            headers = [*kept, ("content-type", EVENTS)]
            return httpx.Response(200, headers=headers, stream=_Events(response, request_id, deadline))
        body = b"".join([piece async for piece in _pieces(response, deadline)])
        message = _parsed(body) if kind == "application/json" else None
        if message is None or not _is_answer(message, request_id):
            raise ExchangeFailed("foreign")
        return _json(body, kept)

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
            await response.aclose()
            if (moved := _moved(response)) is not None:
                request = moved
                continue
            pause = _pause(response, repeat)
            late = asyncio.get_running_loop().time() + pause >= deadline.ends
            if response.status_code not in (429, 503) or repeat == REPEATS or late:
                break
            try:
                async with deadline.kept():
                    await asyncio.sleep(pause)
            except TimeoutError as error:
                raise ExchangeFailed("slow") from error
        lost = response.status_code in (400, 404) and "mcp-session-id" in request.headers
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
    """A stream of events, passed on whole event by whole event, that never ends without the answer."""

    def __init__(self, response: httpx.Response, request_id: Any, deadline: Deadline) -> None:
        self._response = response
        self._id = request_id
        self._deadline = deadline

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for event in _events(_pieces(self._response, self._deadline)):
                if data := _data(event):
                    message = _parsed(data)
                    if message is None:
                        raise ExchangeFailed("foreign")
                    if "id" not in message:
                        # Progress and logs: nobody reads them, and the SDK logs those it cannot read.
                        continue
                    if not _is_request(message) and not _is_answer(message, self._id):
                        raise ExchangeFailed("foreign")
                yield event + b"\n\n"
            # Also where events had ids: the SDK would ask for the rest by GET, and give up in silence if refused.
            raise ExchangeFailed("cut")
        except ExchangeFailed as failure:
            yield b"event: message\ndata: " + failure.answer(self._id) + b"\n\n"

    async def aclose(self) -> None:
        await self._response.aclose()


async def _pieces(response: httpx.Response, deadline: Deadline) -> AsyncIterator[bytes]:
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


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole events only: half of one would be logged as unreadable, with what stands in it."""
    held = b""
    async for piece in pieces:
        held = (held + piece).replace(b"\r\n", b"\n")
        *events, held = held.split(b"\n\n")
        for event in events:
            yield event


def _data(event: bytes) -> bytes:
    return b"\n".join(line[5:].strip() for line in event.splitlines() if line.startswith(b"data:"))


def _parsed(body: bytes) -> dict[str, Any] | None:
    """A JSON-RPC message, or nothing."""
    try:
        message = json.loads(body)
    except ValueError:
        return None
    return message if isinstance(message, dict) and message.get("jsonrpc") == "2.0" else None


def _is_request(message: Mapping[str, Any]) -> bool:
    return isinstance(message.get("method"), str)


def _is_answer(message: Mapping[str, Any], request_id: Any) -> bool:
    """Whether the SDK will take it for the answer to that request; of any other it would tell nobody."""
    try:
        answer = JSONRPCMessage.model_validate(message).root
    except ValueError:
        return False
    return isinstance(answer, JSONRPCResponse | JSONRPCError) and str(answer.id) == str(request_id)


def _moved(response: httpx.Response) -> httpx.Request | None:
    """Where the same request is asked for again, on the same server: credentials go nowhere else."""
    moved, sent = response.next_request, response.request
    if moved is None or moved.method != sent.method:
        return None
    same = (moved.url.scheme, moved.url.netloc) == (sent.url.scheme, sent.url.netloc)
    return moved if same else None


def _json(body: bytes, headers: Sequence[tuple[str, str]] = ()) -> httpx.Response:
    return httpx.Response(200, headers=[*headers, ("content-type", "application/json")], content=body)


def _pause(response: httpx.Response, repeat: int) -> float:
    try:
        asked = float(response.headers.get("retry-after", ""))
    except ValueError:
        asked = 0.5 * 2**repeat
    return min(max(asked, 0.1), LONGEST_PAUSE)

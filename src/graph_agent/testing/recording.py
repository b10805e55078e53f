"""Records the requests to a server, and makes it fail, stall or hang up when a test asks for it."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

SIGN_IN = re.compile(r"^/(\.well-known|oidc)/")

ERROR_CODES: Mapping[int, str] = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}

Act = Callable[[ASGIApp, Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    """When it arrived, in seconds of `time.monotonic()`."""

    @property
    def token(self) -> str:
        """The bearer token; empty if there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def line(self) -> str:
        """Method and path, for assertions about the order of calls."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Stall:
    """Requests that get no answer. `asked` is set when one arrives, and `left` when its client has disconnected."""

    asked: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Fault:
    """What happens to the next `times` requests that match."""

    method: str
    path: re.Pattern[str]
    times: int
    act: Act


class Recording:
    """The requests that a server received, and the faults that it is to show.

    Each fault applies to the next `times` requests whose path matches a regular expression (`re.search`), and whose
    method is `method` if one is given.
    """

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self._faults: list[_Fault] = []

    def calls(self, path: str = "", *, sign_in: bool = False) -> list[Recorded]:
        """Return the requests so far whose path matches. `sign_in` includes sign-in and discovery."""
        return [one for one in self.requests if re.search(path, one.path) and (sign_in or not SIGN_IN.search(one.path))]

    def forget(self) -> None:
        """Clear the recorded requests."""
        self.requests.clear()

    def fail(
        self,
        path: str,
        status: int,
        *,
        times: int = 1,
        method: str = "",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        """Answer with `status` and an error body in the format of Databricks, or with `body`."""
        answer = body or {"error_code": ERROR_CODES.get(status, "ERROR"), "message": "a test asked for this error"}
        content = json.dumps(answer).encode()
        described = {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}
        self.reply(path, content, status=status, headers=described, times=times, method=method)

    def reply(
        self,
        path: str,
        *pieces: bytes,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        method: str = "",
    ) -> None:
        """Answer with these bytes. Each piece is written separately."""

        async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
            await send({"type": "http.response.start", "status": status, "headers": raw})
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                # Lets the server write the piece before the next one is sent.
                await asyncio.sleep(0)
            await send({"type": "http.response.body"})

        self._add(path, method, times, act)

    def slow(self, path: str, seconds: float, *, times: int = 1, method: str = "") -> None:
        """Answer only after `seconds`."""

        async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(seconds)
            await app(scope, receive, send)

        self._add(path, method, times, act)

    def stall(self, path: str, *, times: int = 1, method: str = "") -> Stall:
        """Do not answer until the client disconnects."""
        stall = Stall()

        async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            stall.asked.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            stall.left.set()

        self._add(path, method, times, act)
        return stall

    def hang_up(self, path: str, *, after: int = 1, times: int = 1, method: str = "") -> None:
        """Break the connection after so many pieces of the response body."""

        async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            pieces = 0

            async def counted(message: Message) -> None:
                nonlocal pieces
                if message["type"] == "http.response.body":
                    pieces += 1
                    if pieces > after:
                        raise _HangUp
                    # Never marked as the last piece, so that the response stays incomplete.
                    message = {**message, "more_body": True}
                await send(message)

            try:
                await app(scope, receive, counted)
            except _HangUp:
                return

        self._add(path, method, times, act)

    def clear_faults(self) -> None:
        """Answer as usual again, whatever faults are left."""
        self._faults.clear()

    def recorded(self, app: ASGIApp) -> ASGIApp:
        """Wrap the app. The wrapper reads and records each request, and applies the first fault that matches."""

        async def recording(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            # Recorded before it is answered, so that a test can wait for a request that stalls.
            body = await _body(receive)
            self.requests.append(_request(scope, body))
            fault = self._fault(scope)
            again = _replayed(body, receive)
            await (fault.act(app, scope, again, send) if fault else app(scope, again, send))

        return recording

    def _add(self, path: str, method: str, times: int, act: Act) -> None:
        self._faults.append(_Fault(method, re.compile(path), times, act))

    def _fault(self, scope: Scope) -> _Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fault.method in ("", scope["method"]) and fault.path.search(scope["path"]):
                fault.times -= 1
                return fault
        return None


class _HangUp(Exception):
    """Ends the connection."""


def _request(scope: Scope, body: bytes) -> Recorded:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Recorded(
        scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, body, time.monotonic()
    )


def _replayed(body: bytes, receive: Receive) -> Receive:
    first = True

    async def again() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)

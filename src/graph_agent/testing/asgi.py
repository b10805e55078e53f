"""Drives an ASGI app in process as a server would: its lifespan, and exchanges that stream in both directions.

The `ASGITransport` of httpx runs the app to its end before it returns the response. With this transport the client
reads while the app runs, and can disconnect.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

WAITING_MOST = 16
"""Body pieces that are buffered for a slow reader before `send` blocks, as it does when a socket's buffers are full."""

LEAVING_SECONDS = 10.0
"""How long an app may continue after its client disconnected, before it is cancelled."""

ASGI = {"version": "3.0", "spec_version": "2.3"}
"""The version that uvicorn announces. From 2.4 on, an app may expect `send` to fail after the client disconnected."""


class Lifespan:
    """Runs the app's lifespan in a separate task, so that the same task enters and leaves its context managers."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the app. An app without a lifespan needs no start.

        Raises:
            RuntimeError: the app reported that its startup failed. The cause is the app's own exception.
        """
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())
        await self._ask("startup")

    async def shutdown(self) -> None:
        """Stop the app.

        Raises:
            RuntimeError: the app reported that its shutdown failed.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._task = task
        try:
            await self._ask("shutdown")
        finally:
            self._task = None
            await asyncio.wait([task], timeout=LEAVING_SECONDS)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": ASGI, "state": self.state}
        await self._app(scope, self._received.get, self._answers.put)

    async def _ask(self, phase: str) -> None:
        if self._task is None or self._task.done():
            return
        self._received.put_nowait({"type": f"lifespan.{phase}"})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            # The app raised or returned without an answer. By the ASGI specification it does not support lifespans.
            answer.cancel()
            await asyncio.gather(answer, self._task, return_exceptions=True)
        elif answer.result()["type"] == f"lifespan.{phase}.failed":
            (cause,) = await asyncio.gather(self._task, return_exceptions=True)
            raise RuntimeError(f"the app's {phase} failed") from cause


class StreamingTransport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient(transport=…)`. Each request runs the app in a task, and its response streams.

    Closing a response early has the effect of closing a socket: the app receives `http.disconnect`. An exception that
    the app raises before its response is complete is raised to the client. `state` is the state of the lifespan.
    """

    def __init__(self, app: ASGIApp, *, state: dict[str, Any] | None = None) -> None:
        self._app = app
        self._state = {} if state is None else state

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response as soon as the app has started it."""
        exchange = _Exchange(request)
        exchange.run(self._app, self._state)
        try:
            start = await exchange.next()
        except BaseException:
            await exchange.leave()
            raise
        return httpx.Response(start["status"], headers=start.get("headers", []), stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request and its response. Iterating over it yields the response's body."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._pieces = aiter(request.stream)  # type: ignore[arg-type]
        self._sent = False
        self._receiving = asyncio.Lock()
        self._out: asyncio.Queue[Message] = asyncio.Queue(WAITING_MOST)
        self._over = asyncio.Event()
        self._task: asyncio.Task[None]

    def run(self, app: ASGIApp, state: dict[str, Any]) -> None:
        scope = _scope(self._request) | {"state": dict(state)}
        # An empty context: context variables of the test do not reach an app behind a socket either.
        self._task = asyncio.create_task(_call(app, scope, self._receive, self._send), context=contextvars.Context())

    async def next(self) -> Message:
        """Return the next message of the app."""
        message = asyncio.ensure_future(self._out.get())
        await asyncio.wait([message, self._task], return_when=asyncio.FIRST_COMPLETED)
        if message.done():
            return message.result()
        message.cancel()
        # The app may have sent its last message and returned while both were being waited for.
        if not self._out.empty():
            return self._out.get_nowait()
        self._task.result()
        raise httpx.RemoteProtocolError("the app returned before its response was complete", request=self._request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            message = await self.next()
            if body := message.get("body"):
                yield body
            if not message.get("more_body"):
                return

    async def aclose(self) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Disconnect the client, and wait until the app has noticed."""
        self._over.set()
        ends = asyncio.get_running_loop().time() + LEAVING_SECONDS
        while not self._task.done() and asyncio.get_running_loop().time() < ends:
            # Unblocks an app that waits for a full queue. Writing to a closed socket does not block either.
            while not self._out.empty():
                self._out.get_nowait()
            await asyncio.wait([self._task], timeout=0.01)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _receive(self) -> Message:
        # Starlette may wait for the body and for the disconnect at the same time, in two tasks.
        async with self._receiving:
            if not self._sent and not self._over.is_set():
                try:
                    return {"type": "http.request", "body": await anext(self._pieces), "more_body": True}
                except StopAsyncIteration:
                    self._sent = True
                    return {"type": "http.request", "body": b"", "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        # After a disconnect, messages are dropped as on a closed socket.
        if not self._over.is_set():
            await self._out.put(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._over.set()


async def _call(app: ASGIApp, scope: dict[str, Any], receive: Any, send: Any) -> None:
    await app(scope, receive, send)


def _scope(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1",
        "method": request.method,
        # ASGI requires names in lower case.
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        # httpx includes the query in the raw path, and ASGI does not.
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "server": (request.url.host, request.url.port or 80),
        "client": ("127.0.0.1", 50_000),
        "extensions": {},
    }

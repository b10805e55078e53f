"""An ASGI app driven in process, as a server would: its lifespan, and exchanges that stream in both directions.

httpx's own `ASGITransport` runs the app to its end before it returns the response; with this one the client reads
what the app sends while the app runs, and can leave.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

WAITING_MOST = 16
"""Pieces of a body that wait for a slow reader before the app is held back, as a socket's buffers do."""

LEAVING_SECONDS = 10.0
"""How long an app may work on after its client has left, before it is cancelled."""

ASGI = {"version": "3.0", "spec_version": "2.3"}
"""As uvicorn says: from 2.4 on an app may expect that sending fails once the client has left."""


class Lifespan:
    """The app's lifespan, in a task of its own, so that it is entered and left by the same task."""

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._received: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Start the app. An app without a lifespan is started already.

        Raises:
            RuntimeError: the app says that its start failed; what the app itself raised is the cause.
        """
        self._task = asyncio.create_task(self._run(), context=contextvars.Context())
        await self._ask("startup")

    async def shutdown(self) -> None:
        """Stop the app.

        Raises:
            RuntimeError: the app says that stopping it failed.
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
            # It raised or returned without a word, which means that it knows no lifespan.
            answer.cancel()
            await asyncio.gather(answer, self._task, return_exceptions=True)
        elif answer.result()["type"] == f"lifespan.{phase}.failed":
            (cause,) = await asyncio.gather(self._task, return_exceptions=True)
            raise RuntimeError(f"the app's {phase} failed") from cause


class StreamingTransport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=…)`: each request runs the app in a task, and its response streams.

    Closing a response early is what closing a socket is: the app receives `http.disconnect`. What the app raises
    before its response is complete is raised to the client. `state` is the lifespan's.
    """

    def __init__(self, app: ASGIApp, *, state: dict[str, Any] | None = None) -> None:
        self._app = app
        self._state = {} if state is None else state

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, as soon as the app has begun it."""
        exchange = _Exchange(request)
        exchange.run(self._app, self._state)
        try:
            start = await exchange.next()
        except BaseException:
            await exchange.leave()
            raise
        return httpx.Response(start["status"], headers=start.get("headers", []), stream=exchange)


class _Exchange(httpx.AsyncByteStream):
    """One request and its response; iterated, it is the response's body."""

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
        # No context variable of the test reaches the app, as behind a socket.
        self._task = asyncio.create_task(_call(app, scope, self._receive, self._send), context=contextvars.Context())

    async def next(self) -> Message:
        """What the app sends next."""
        message = asyncio.ensure_future(self._out.get())
        await asyncio.wait([message, self._task], return_when=asyncio.FIRST_COMPLETED)
        if message.done():
            return message.result()
        message.cancel()
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
        """The client closes its connection, and waits until the app has noticed."""
        self._over.set()
        ends = asyncio.get_running_loop().time() + LEAVING_SECONDS
        while not self._task.done() and asyncio.get_running_loop().time() < ends:
            # An app that is held back by a full queue goes on, as writing to a closed socket does.
            while not self._out.empty():
                self._out.get_nowait()
            await asyncio.wait([self._task], timeout=0.01)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _receive(self) -> Message:
        # Starlette may wait for the body and for the client's leaving at the same time.
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
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "server": (request.url.host, request.url.port or 80),
        "client": ("127.0.0.1", 50_000),
        "extensions": {},
    }

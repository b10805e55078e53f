"""Clients that call an agent's ASGI app in process, with and without streaming."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Self

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.types import ASGIApp

from graph_agent.sse_events import EventReader
from graph_agent.testing.asgi import Lifespan, StreamingTransport
from graph_agent.testing.errors import RequestRefused, StreamCut

BASE_URL = "http://localhost"
ADDRESS = "/responses"
READ_SECONDS = 60.0
"""The longest wait for the next piece of a response."""

Body = str | Mapping[str, Any]
"""A request: only the question, or the fields of the Responses API."""


class AgentClient:
    """A client of an ASGI app. The app and its lifespan run in the event loop of the test.

        async with AgentClient(create_app(settings)) as client:
            response = await client.ask("Which port?")
            async for event in client.stream("Which port?"):
                ...

    `http` is an `httpx.AsyncClient` of the app for all other requests. Its responses stream too. `headers` are sent
    with every request. Leaving the block closes open streams and stops the app.
    """

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str] | None = None) -> None:
        self._lifespan = Lifespan(app)
        self._streams: set[EventStream] = set()
        self.http = httpx.AsyncClient(
            transport=StreamingTransport(app, state=self._lifespan.state),
            base_url=BASE_URL,
            headers=headers,
            timeout=READ_SECONDS,
        )

    async def __aenter__(self) -> Self:
        await self._lifespan.startup()
        return self

    async def __aexit__(self, *_: object) -> None:
        for stream in list(self._streams):
            await stream.aclose()
        await self.http.aclose()
        await self._lifespan.shutdown()

    async def ask(self, body: Body, *, path: str = ADDRESS, **options: Any) -> dict[str, Any]:
        """Return one complete response. `options` are those of `httpx.AsyncClient.post`, such as `headers`.

        Raises:
            RequestRefused: the service answered with an error status.
        """
        answer = await self.post(path, json=_fields(body), **options)
        if answer.is_error:
            raise RequestRefused(answer.status_code, _parsed(answer.text))
        response: dict[str, Any] = answer.json()
        return response

    def stream(self, body: Body, *, path: str = ADDRESS, **options: Any) -> "EventStream":
        """Return the events of one response as a stream. Reading the first event sends the request."""
        request = self.http.build_request("POST", path, json={**_fields(body), "stream": True}, **options)
        stream = EventStream(self.http, request, self._streams)
        self._streams.add(stream)
        return stream

    async def post(self, path: str, **options: Any) -> httpx.Response:
        """Call `httpx.AsyncClient.post`."""
        return await self.http.post(path, **options)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """Call `httpx.AsyncClient.get`."""
        return await self.http.get(path, **options)


class EventStream:
    """The events of one response, each a mapping. Iterate over it, and close it to disconnect early.

    `async with` closes it at the end of the block. The client closes streams that are still open when it stops.

    Raises:
        RequestRefused: the service answered with an error status. Reading the first event raises it.
        StreamCut: the stream ended without `[DONE]`.
    """

    def __init__(self, http: httpx.AsyncClient, request: httpx.Request, open_streams: "set[EventStream]") -> None:
        self.headers: Mapping[str, str] = {}
        """The headers of the response. They are empty until the first event has arrived."""
        self._http = http
        self._request = request
        self._open_streams = open_streams
        self._response: httpx.Response | None = None
        self._events = self._read()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Disconnect. The service sees that its client closed the connection."""
        self._open_streams.discard(self)
        await self._events.aclose()  # type: ignore[attr-defined]
        if self._response is not None:
            await self._response.aclose()

    async def _read(self) -> AsyncIterator[dict[str, Any]]:
        response = self._response = await self._http.send(self._request, stream=True)
        try:
            if response.is_error:
                raise RequestRefused(response.status_code, _parsed((await response.aread()).decode("utf-8", "replace")))
            self.headers = response.headers
            reader = EventReader()
            async for piece in response.aiter_raw():
                for event in reader.feed(piece):
                    if event.data == "[DONE]":
                        return
                    yield json.loads(event.data)
            raise StreamCut("the event stream ended without [DONE]")
        finally:
            await response.aclose()


class SyncAgentClient:
    """`AgentClient` for synchronous tests. The app runs in an event loop in another thread.

    with SyncAgentClient(create_app(settings)) as client:
        for event in client.stream("Which port?"):
            ...
    """

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._headers = headers
        self._stack = ExitStack()
        self._portal: BlockingPortal
        self._client: AgentClient

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal("asyncio"))
            self._client = self._portal.call(self._made)
            entered: AbstractContextManager[Any] = self._portal.wrap_async_context_manager(self._client)
            stack.enter_context(entered)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def ask(self, body: Body, *, path: str = ADDRESS, **options: Any) -> dict[str, Any]:
        """Call `AgentClient.ask`."""

        async def ask() -> dict[str, Any]:
            return await self._client.ask(body, path=path, **options)

        return self._portal.call(ask)

    def stream(self, body: Body, *, path: str = ADDRESS, **options: Any) -> Iterator[dict[str, Any]]:
        """Yield the events as they are sent. Closing the iterator disconnects."""

        async def begin() -> EventStream:
            return self._client.stream(body, path=path, **options)

        stream = self._portal.call(begin)

        async def following() -> dict[str, Any] | None:
            return await anext(stream, None)

        try:
            while (event := self._portal.call(following)) is not None:
                yield event
        finally:
            self._portal.call(stream.aclose)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Call `httpx.Client.post`."""

        async def post() -> httpx.Response:
            return await self._client.post(path, **options)

        return self._portal.call(post)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Call `httpx.Client.get`."""

        async def get() -> httpx.Response:
            return await self._client.get(path, **options)

        return self._portal.call(get)

    async def _made(self) -> AgentClient:
        # Runs in the loop that uses the client, because asyncio queues belong to one loop.
        return AgentClient(self._app, headers=self._headers)


def _fields(body: Body) -> dict[str, Any]:
    return {"input": body} if isinstance(body, str) else dict(body)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text

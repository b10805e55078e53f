"""The in-process client: events as they are sent, leaving early, the lifespan, and errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from graph_agent import Settings, create_app
from graph_agent.testing import AgentClient, RequestRefused, StreamCut, SyncAgentClient

pytestmark = pytest.mark.anyio

GRAPHS = Path(__file__).parents[1] / "graphs" / "langgraph.json"


def frame(event: Any) -> str:
    return f"data: {json.dumps(event)}\n\n"


class Telling:
    """An app that tells one event, and the next one when the test allows it."""

    def __init__(self) -> None:
        self.allowed, self.left, self.log = asyncio.Event(), asyncio.Event(), list[str]()
        routes = [
            Route("/responses", self._respond, methods=["POST"]),
            Route("/refuse", self._refuse, methods=["POST"]),
            Route("/cut", self._cut, methods=["POST"]),
            Route("/raise", self._raise, methods=["POST"]),
            Route("/state", self._state),
        ]
        self.app = Starlette(routes=routes, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[dict[str, Any]]:
        self.log.append("started")
        yield {"found": "kept"}
        self.log.append("stopped")

    async def _respond(self, request: Request) -> Response:
        body = await request.json()
        if not body.get("stream"):
            return JSONResponse({"said": body["input"]})

        async def events() -> AsyncIterator[str]:
            try:
                yield frame({"n": 1})
                await self.allowed.wait()
                yield frame({"n": 2})
                yield "data: [DONE]\n\n"
            finally:
                self.left.set()

        return StreamingResponse(events(), headers={"x-kind": "events"})

    async def _refuse(self, request: Request) -> Response:
        return JSONResponse({"error": {"code": "no"}}, 400)

    async def _cut(self, request: Request) -> Response:
        return PlainTextResponse(frame({"n": 1}))

    async def _raise(self, request: Request) -> Response:
        raise ValueError("mine")

    async def _state(self, request: Request) -> Response:
        return PlainTextResponse(request.state.found)


async def test_events_arrive_as_they_are_sent() -> None:
    telling = Telling()
    async with AgentClient(telling.app) as client:
        stream = client.stream("Hi")
        assert await anext(stream) == {"n": 1}
        assert stream.headers["x-kind"] == "events"
        telling.allowed.set()
        assert [event async for event in stream] == [{"n": 2}]


async def test_the_app_sees_that_its_client_left() -> None:
    telling = Telling()
    async with AgentClient(telling.app) as client:
        async with client.stream("Hi") as stream:
            assert await anext(stream) == {"n": 1}
        await asyncio.wait_for(telling.left.wait(), 5)


async def test_a_stream_that_is_left_open_ends_with_the_client() -> None:
    telling = Telling()
    async with AgentClient(telling.app) as client:
        async for _ in client.stream("Hi"):
            break
        assert not telling.left.is_set()
    assert telling.left.is_set()
    assert telling.log == ["started", "stopped"]


async def test_request_and_response_stream_at_the_same_time() -> None:
    heard: list[bytes] = []
    answered = asyncio.Event()

    async def asking() -> AsyncIterator[bytes]:
        yield b"one"
        await answered.wait()
        yield b"two"

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (piece := await receive())["more_body"]:
            await send({"type": "http.response.body", "body": piece["body"], "more_body": True})
        await send({"type": "http.response.body"})

    async with AgentClient(echo) as client, client.http.stream("POST", "/", content=asking()) as response:
        async for piece in response.aiter_raw():
            heard.append(piece)
            answered.set()
    assert heard == [b"one", b"two"]


async def test_a_slow_reader_holds_the_app_back() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent += 1
        await send({"type": "http.response.body"})

    async with AgentClient(app) as client, client.http.stream("GET", "/") as response:
        pieces = response.aiter_raw()
        await anext(pieces)
        await asyncio.sleep(0)
        assert sent < 50
        assert len([one async for one in pieces]) == 999


async def test_whole_responses_and_the_state_of_the_lifespan() -> None:
    async with AgentClient(Telling().app) as client:
        assert await client.ask("Hi") == {"said": "Hi"}
        assert await client.ask({"input": [1]}) == {"said": [1]}
        assert (await client.get("/state")).text == "kept"


async def test_errors_are_typed() -> None:
    async with AgentClient(Telling().app) as client:
        for refused in (client.ask("Hi", path="/refuse"), anext(client.stream("Hi", path="/refuse"))):
            with pytest.raises(RequestRefused) as raised:
                await refused
            assert (raised.value.status, raised.value.body) == (400, {"error": {"code": "no"}})
        with pytest.raises(StreamCut):
            [event async for event in client.stream("Hi", path="/cut")]
        assert (await client.post("/refuse")).status_code == 400


async def test_what_the_app_raises_is_raised_to_the_test() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        raise ValueError("mine")

    async with AgentClient(app) as client:
        with pytest.raises(ValueError, match="mine"):
            await client.get("/")
    async with AgentClient(Telling().app) as client:
        # Starlette answers first, and then raises.
        assert (await client.post("/raise")).status_code == 500


async def test_a_failed_start_is_raised_with_its_cause() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise ValueError("no start")
        yield

    with pytest.raises(RuntimeError, match="startup failed"):
        async with AgentClient(Starlette(lifespan=lifespan)):
            pass


def test_a_synchronous_test_drives_the_service_in_the_same_way() -> None:
    app = create_app(Settings(config=GRAPHS, tracing="off", store="memory"), environ={})
    with SyncAgentClient(app) as client:
        (item,) = client.ask({"model": "echo", "input": "Hi"})["output"]
        assert item["content"][0]["text"]
        events = client.stream({"model": "echo", "input": "Hi"})
        assert next(events)["type"] == "response.created"
        events.close()
        last = list(client.stream({"model": "echo", "input": "Hi"}))[-1]
        assert last["type"] == "response.completed"
        assert client.get("/health").status_code == client.post("/responses", json={"input": 3}).status_code - 200

"""A token goes to the socket in the call that has it, and never past a middleware that changes bodies."""

import asyncio
import functools
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.serving.conftest import Service, serving
from tests.serving.mailing import planner
from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from graph_agent.serving.cors import Cors
from graph_agent.testing import ScriptedChatModel, Wait

pytestmark = pytest.mark.anyio

WORDS = ["one", " two", " three", " four", " five", " six."]


class Pause:
    """A pause after a word, in which the writer of the stream waits for the next one."""

    async def wait(self) -> None:
        await asyncio.sleep(0.1)


def graphs() -> dict[str, Any]:
    """A graph that says the words one by one."""
    reply = [piece for word in WORDS for piece in (word, Wait(Pause()))]
    return {"speaker": planner(ScriptedChatModel(reply))}


async def streamed(service: Service, address: str = "/responses", body: Any = None, **headers: str) -> str:
    """The body of a stream."""
    asked = body or {"input": "Hi", "stream": True}
    async with service.client() as client, client.stream("POST", address, json=asked, headers=headers) as answer:
        text = (await answer.aread()).decode()
        assert answer.status_code == 200, text
    return text


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that the server was sent as usual, by a task."""
    bodies: list[bytes] = []
    send = RequestResponseCycle.send

    async def noted(self: RequestResponseCycle, message: Any) -> None:
        if message["type"] == "http.response.body":
            bodies.append(message["body"])
        await send(self, message)

    monkeypatch.setattr(RequestResponseCycle, "send", noted)
    return bodies


def deltas(text: str) -> list[str]:
    return re.findall(r'output_text\.delta.*?"delta":"([^"]*)"', text)


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({}, {}),
        ({"bearer_token": "open sesame"}, {"authorization": "Bearer open sesame"}),
        ({"cors_origins": "http://pages.test"}, {}),
        ({"cors_origins": "http://pages.test"}, {"origin": "http://pages.test"}),
    ],
    ids=["plain", "token", "no-page", "page"],
)
async def test_behind_the_services_own_middleware_words_go_to_the_socket_in_the_call_that_has_them(
    serve: Callable[..., Any], sent: list[bytes], settings: Any, headers: dict[str, str]
) -> None:
    with serve(graphs=graphs(), **settings) as service, anyio.fail_after(60):
        sent.clear()
        text = await streamed(service, **headers)
    assert deltas(text) == WORDS
    assert text.endswith("data: [DONE]\n\n")
    told_by_task = deltas(b"".join(sent).decode())
    assert len(told_by_task) < len(WORDS) // 2


class Shouting:
    """Writes every letter of a body as a capital, piece by piece, and leaves the start of the answer as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def shouted(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": message.get("body", b"").upper()}
            await send(message)

        await self.app(scope, receive, shouted)


class ShoutingInDisguise(Shouting):
    """The same with a function that takes over the attributes of the one that it wraps."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        @functools.wraps(send)
        async def shouted(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": message.get("body", b"").upper()}
            await send(message)

        await self.app(scope, receive, shouted)


class ShoutingBase(BaseHTTPMiddleware):
    """The same with Starlette's class for middleware."""

    async def dispatch(self, request: Request, call_next: Any) -> Any:
        answer = await call_next(request)

        async def shouted() -> AsyncIterator[bytes]:
            async for piece in answer.body_iterator:
                yield piece.upper()

        return StreamingResponse(shouted(), answer.status_code, headers=dict(answer.headers))


def outside(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services from now on have a middleware around all others, as a host adds it."""
    create_app = serving.__wrapped__.__globals__["create_app"]

    def with_middleware(*given: Any, **named: Any) -> Any:
        app = create_app(*given, **named)
        app.add_middleware(kind)
        return app

    monkeypatch.setitem(serving.__wrapped__.__globals__, "create_app", with_middleware)


def inside(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same within the others: around what the middleware for pages of other sites has around itself."""
    begin = Cors.__init__

    def with_middleware(self: Cors, app: ASGIApp, **named: Any) -> None:
        begin(self, kind(app), **named)

    monkeypatch.setattr(Cors, "__init__", with_middleware)


@pytest.mark.parametrize("place", [outside, inside])
@pytest.mark.parametrize("kind", [Shouting, ShoutingInDisguise, ShoutingBase])
async def test_a_middleware_that_changes_bodies_changes_all_of_them(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: type, place: Any
) -> None:
    place(kind, monkeypatch)
    with serve(graphs=graphs(), cors_origins="http://pages.test") as service, anyio.fail_after(60):
        text = await streamed(service)
    assert text == text.upper()
    for word in WORDS:
        assert word.upper() in text


async def test_a_body_that_is_compressed_on_its_way_is_whole(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    outside(GZipMiddleware, monkeypatch)
    with serve(graphs=graphs()) as service, anyio.fail_after(60):
        text = await streamed(service)
        async with service.client() as client:
            info = await client.get("/openapi.json")
    assert deltas(text) == WORDS
    assert info.headers["content-encoding"] == "gzip"
    assert json.loads(info.content)["openapi"]


async def test_the_address_that_has_events_of_another_form_has_no_others(serve: Callable[..., Any]) -> None:
    """Its middleware is the service's own, and says nothing of it anywhere."""
    asked = {"id": str(uuid4()), "session_id": "s", "input": [{"role": "user", "content": "Hi"}], "stream": True}
    with serve(graphs=graphs()) as service, anyio.fail_after(60):
        text = await streamed(service, "/api/invocations", asked)
    assert "six." in text
    assert [part for part in text.split("\n\n") if part and not part.startswith((":", "id: "))] == []

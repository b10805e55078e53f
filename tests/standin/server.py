"""A Databricks workspace on loopback that records every request and can be told to fail.

It is the project's own local workspace, with a scripted model and a small index, and with more routes where a test
brings them. The real client libraries talk to it over real sockets.
"""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.local.conftest import HashingEmbedder

from graph_agent.evaluating.serving import serving
from graph_agent.local.access import Credentials
from graph_agent.local.index import Index
from graph_agent.local.workspace import create_workspace

INDEX = "main.docs.project"
ENDPOINT = "local-model"
DOCUMENTS = {
    "settings.md": "# Settings\n\n## Timeouts\n\nThe timeout is thirty seconds.\n\n## Colours\n\nDark mode is blue.\n",
    "budgets.md": "# Budgets\n\nA budget bounds what one run may use: steps, calls, seconds and tokens.\n",
}
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    """Seconds, of `time.monotonic()`."""

    @property
    def token(self) -> str:
        """The bearer token, or nothing."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def line(self) -> str:
        """Method and path, for asserting what was called in order."""
        return f"{self.method} {self.path}"


@dataclass
class Fault:
    """What happens to requests that match, `times` times."""

    method: str
    path: re.Pattern[str]
    times: int
    act: Callable[[ASGIApp, Scope, Receive, Send], Any]


@dataclass
class StandIn:
    """A running stand-in. `calls()` are the requests so far, signing in and discovery left out unless asked for."""

    url: str
    credentials: Credentials
    model: "ScriptedModel"
    requests: list[Recorded] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def calls(self, path: str = "", *, sign_in: bool = False) -> list[Recorded]:
        """Requests whose path matches the pattern."""
        return [one for one in self.requests if re.search(path, one.path) and (sign_in or not SIGN_IN.search(one.path))]

    def forget(self) -> None:
        """Begin the record anew."""
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
        """Answer the next matching requests with `status` and a Databricks error body."""

        async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            await _answer(
                send, status, body or {"error_code": CODES.get(status, "ERROR"), "message": "told to"}, headers
            )

        self._add(path, method, times, act)

    def reply(
        self,
        path: str,
        *pieces: bytes,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        times: int = 1,
        method: str = "",
    ) -> None:
        """Answer the next matching requests with these bytes, each piece in a write of its own."""

        async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
            await send({"type": "http.response.start", "status": status, "headers": raw})
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)
            await send({"type": "http.response.body"})

        self._add(path, method, times, act)

    def slow(self, path: str, seconds: float, *, times: int = 1, method: str = "") -> None:
        """Answer the next matching requests only after `seconds`."""

        async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(seconds)
            await app(scope, receive, send)

        self._add(path, method, times, act)

    def cut(self, path: str, *, after: int = 1, times: int = 1, method: str = "") -> None:
        """Break the connection of the next matching requests off after so many pieces of the answer's body."""

        async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            pieces = 0

            async def counted(message: Message) -> None:
                nonlocal pieces
                if message["type"] == "http.response.body":
                    pieces += 1
                    if pieces > after:
                        raise _Cut
                    # Never the last piece: the answer stays unfinished.
                    message = {**message, "more_body": True}
                await send(message)

            try:
                await app(scope, receive, counted)
            except _Cut:
                return

        self._add(path, method, times, act)

    def user(self, name: str) -> str:
        """The token of a user; tokens are `user-NAME`."""
        return f"user-{name}"

    def environment(self) -> dict[str, str]:
        """The variables Databricks Apps sets for its service principal; no token."""
        return {
            "DATABRICKS_HOST": self.url,
            "DATABRICKS_CLIENT_ID": self.credentials.client_id,
            "DATABRICKS_CLIENT_SECRET": self.credentials.client_secret,
        }

    def _add(self, path: str, method: str, times: int, act: Callable[..., Any]) -> None:
        self.faults.append(Fault(method, re.compile(path), times, act))


class _Cut(Exception):
    """The connection is to break here."""


SIGN_IN = re.compile(r"^/(\.well-known|oidc)/")
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}


def delta(finish_reason: str | None = None, **content: Any) -> dict[str, Any]:
    """One chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": content, "finish_reason": finish_reason}]}


def says(*words: str) -> list[dict[str, Any]]:
    """The chunks of an answer, usage on the last."""
    return [
        delta(role="assistant", content=""),
        *(delta(content=word) for word in words),
        delta("stop") | {"usage": USAGE},
    ]


def calls(name: str, **arguments: Any) -> list[dict[str, Any]]:
    """The chunks of one tool call."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    piece = {"index": 0, "id": f"call_{name}", "type": "function", "function": function}
    return [delta(tool_calls=[piece]), delta("tool_calls") | {"usage": USAGE}]


Script = Callable[[Mapping[str, Any]], Sequence[dict[str, Any]]]


@dataclass
class ScriptedModel:
    """The chat endpoint: what it says is decided by `script` from the request's body, so that many may ask at once.

    A pause in seconds (a number among the chunks) is waited for.
    """

    script: Callable[[Mapping[str, Any]], Sequence[Any]] = lambda body: says("It ", "is ", "blue.")
    bodies: list[Mapping[str, Any]] = field(default_factory=list)

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Answer one request."""
        self.bodies.append(body)
        for chunk in self.script(body):
            if isinstance(chunk, int | float):
                await asyncio.sleep(chunk)
            else:
                yield chunk
                # One write per chunk, as over a real network.
                await asyncio.sleep(0)


def results_in(body: Mapping[str, Any]) -> int:
    """How many tool results the model has been shown since the last question."""
    count = 0
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            break
        count += message["role"] == "tool"
    return count


@contextmanager
def stand_in(
    folder: Path,
    *,
    users: Sequence[str] = (),
    more: Sequence[BaseRoute] = (),
    model: ScriptedModel | None = None,
    token: str | None = None,
    index_name: str = INDEX,
) -> Iterator[StandIn]:
    """A stand-in on a free port until the block ends, with one index.

    `users` are names whose `user-NAME` tokens are known, `token` is one that is taken beside those it mints."""
    credentials, model = Credentials.generate(), model or ScriptedModel()
    credentials = replace(credentials, token=token or credentials.token)
    documents = folder / "documents"
    documents.mkdir(parents=True)
    for name, text in DOCUMENTS.items():
        (documents / name).write_text(text)
    embedder = HashingEmbedder()
    with ExitStack() as stack:
        index = stack.enter_context(Index.open(folder / "index.db", embedder))
        index.sync([documents])
        workspace = create_workspace(
            model,
            {index_name: index},
            embedder=embedder,
            credentials=credentials,
            users={f"user-{name}": name for name in users},
            more=more,
        )
        standing = StandIn("", credentials, model)
        standing.url = stack.enter_context(serving(_Recorder(workspace, standing)))
        yield standing


class _Recorder:
    """The outermost layer: reads each request whole, notes it, and applies the first fault that matches."""

    def __init__(self, app: ASGIApp, standing: StandIn) -> None:
        self._app = app
        self._standing = standing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode()
        self._standing.requests.append(Recorded(scope["method"], scope["path"], query, headers, body, time.monotonic()))
        replayed = False

        async def again() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        fault = self._fault(scope)
        await (fault.act(self._app, scope, again, send) if fault else self._app(scope, again, send))

    def _fault(self, scope: Scope) -> Fault | None:
        for fault in self._standing.faults:
            if fault.times > 0 and fault.method in ("", scope["method"]) and fault.path.search(scope["path"]):
                fault.times -= 1
                return fault
        return None


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _answer(send: Send, status: int, body: Any, headers: Mapping[str, str] | None) -> None:
    content = json.dumps(body).encode()
    raw = {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}
    start = {"type": "http.response.start", "status": status}
    await send(start | {"headers": [(name.encode(), value.encode()) for name, value in raw.items()]})
    await send({"type": "http.response.body", "body": content})


@contextmanager
def dead_host() -> Iterator[str]:
    """The URL of a port where nothing listens, and nothing else can begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"

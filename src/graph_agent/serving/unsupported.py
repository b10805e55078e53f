"""Answers for addresses of related APIs that this service does not have: what to do instead."""

from collections.abc import Awaitable, Mapping

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import RouteNotFound
from graph_agent.serving.handshakes import refusal
from graph_agent.serving.mounting import path_of, prefix_of

WEBSOCKET = "/v1/responses"
"""The address of the WebSocket."""

NO_WEBSOCKET = (
    'a WebSocket is served at {socket} only; connect there, or POST to {run} with `"stream": true`, and read the '
    "server-sent events"
)

INSIDE_RESPONSES: Mapping[str, str] = {
    "compact": "POST the history in `input` to {run}/compact",
    "input_tokens": "POST the history in `input` to {run}/input_tokens",
}
"""The word after `/responses/`, with or without an id in between -> what to do."""

_NO_CHATS = "chat completions are not stored; POST to {chat}, or to {run}, whose responses are stored"
_CHAT = "POST `messages` to {chat}, or send them as `input` to {run}"
_NO_FILES = "files are not stored; send them inside `input` to {run}, as `file_data`"
_NO_THREADS = (
    "LangGraph's own API is not served; POST to {run} and name the conversation in `context.conversation_id`, or start "
    "LangGraph's API with `graph-agent studio`"
)
_RESPONSES_ONLY = "only the Responses API and Chat Completions are served; POST to {run}"

INSTEAD: Mapping[str, str] = {
    "chat": _NO_CHATS,
    "completions": _CHAT,
    "messages": _CHAT,
    "models": "`model` is the name of a graph; GET {models} lists them",
    "files": _NO_FILES,
    "uploads": _NO_FILES,
    "vector_stores": _NO_FILES,
    "assistants": _NO_THREADS,
    "threads": _NO_THREADS,
    "runs": _NO_THREADS,
    **dict.fromkeys(
        ["audio", "batches", "containers", "embeddings", "evals", "fine_tuning", "images", "moderations", "realtime"],
        _RESPONSES_ONLY,
    ),
    **dict.fromkeys(["predict", "predictions", "score", "query", "chatkit", "skills", "videos"], _RESPONSES_ONLY),
}
"""The first word of an address, without `/v1` or `/api` -> what to do."""


def alternative_to(request: HTTPConnection, *, exists: bool = False) -> str | None:
    """What to do instead of this request, or `None` when the address belongs to no API that is known here.

    `exists` says that the address is served with another method. Such an address may still look like one of another
    API, because the id of a response can be any word.
    """
    first, *rest = [word for word in path_of(request.scope).split("/") if word] or [""]
    prefix = prefix_of(request.scope)
    run = f"{prefix}/responses"
    if first in ("v1", "api"):
        run = f"{prefix}/{first}/responses"
        first, *rest = rest or [""]
    if request.headers.get("upgrade", "").lower() == "websocket" or request.scope["type"] == "websocket":
        return NO_WEBSOCKET.format(run=run, socket=f"{prefix}{WEBSOCKET}")
    words = None if exists else INSTEAD.get(first)
    if first == "responses" and rest and not exists:
        words = next((said for word, said in INSIDE_RESPONSES.items() if word in (rest[0], *rest[1:2])), None)
    base = run.removesuffix("/responses")
    return words and words.format(run=run, chat=f"{base}/chat/completions", models=f"{base}/models")


class OtherWebSockets:
    """ASGI middleware: refuses a WebSocket handshake at every other address like one that does not exist, with what to
    do instead."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # No coroutine of its own, which would stay for as long as the answer is written.
        app = self._app
        if scope["type"] == "websocket" and path_of(scope) != WEBSOCKET:
            app = refusal(RouteNotFound(alternative_to(HTTPConnection(scope)) or ""))
        return app(scope, receive, send)

"""The bearer token that requests must carry when the service runs outside Databricks Apps."""

from functools import partial

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import Unauthenticated
from graph_agent.serving.handshakes import refusal
from graph_agent.serving.identity import has_bearer_token
from graph_agent.serving.mounting import path_of
from graph_agent.serving.routes.documentation import is_documentation_path
from graph_agent.serving.routes.page import is_page_path
from graph_agent.settings import Settings

OPEN = frozenset({"/health", "/openapi.json", "/api/openapi.json"})
"""Addresses for probes and for gateways, which cannot carry a token. Their answers say that the process is alive, and
what is in the documentation."""

REFUSED = "send one header 'Authorization: Bearer …' with the token of GRAPH_AGENT_BEARER_TOKEN"


class BearerGate:
    """ASGI middleware: answers 401 to every request and handshake without the token, but not at the addresses that
    `is_open` names.

    `page_at` is where the page is, as in `is_page_path`.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, page_at: str = "") -> None:
        # Takes the settings and not the token: Starlette shows the arguments of a middleware in its repr.
        self._app = app
        self._bearer_token = settings.bearer_token
        self._is_open = partial(is_open, settings=settings, page_at=page_at)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._app
        asks = scope["type"] in ("http", "websocket")
        if asks and self._bearer_token is not None and not self._is_open(path_of(scope)):
            # A repeated header is fine. Two different values are refused: it is unclear which one counts.
            given = set(Headers(scope=scope).getlist("authorization"))
            if len(given) != 1 or not has_bearer_token(given.pop(), self._bearer_token):
                app = refusal(Unauthenticated(REFUSED))
        await app(scope, receive, send)


def is_open(path: str, *, settings: Settings, page_at: str) -> bool:
    """Whether an address needs no token: one of `OPEN`, one of the chat page, which asks its user for the token, or one
    of the documentation."""
    if settings.docs == "on" and is_documentation_path(path):
        return True
    return path in OPEN or (settings.page == "on" and is_page_path(path, at=page_at))

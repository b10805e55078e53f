"""LangGraph's server behind a gate: the only web pages that may use it are those of Studio."""

import os

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.trusted_hosts import NOT_JSON, TrustedHosts, is_json

OPEN = frozenset({"/ok"})
"""Paths for probes, which may use any host name. They only say that the process answers."""


def create() -> ASGIApp:
    """LangGraph's app as `langgraph dev` serves it, restricted to the pages in `CORS_ALLOW_ORIGINS`."""
    # Late import: it reads its configuration from the environment when it is imported.
    from langgraph_api.server import app

    pages = os.environ.get("CORS_ALLOW_ORIGINS", "").split(",")
    return StudioPages(app, origins=frozenset(page.strip() for page in pages if page.strip()))


class StudioPages:
    """ASGI middleware: 403 for other web pages or foreign host names, 415 for bodies that are not declared as JSON.

    CORS alone is not enough: it keeps other pages from reading answers, but not from starting runs.
    """

    def __init__(self, app: ASGIApp, *, origins: frozenset[str]) -> None:
        self._app = app
        self._own = TrustedHosts(origins=origins, remedy="name it in CORS_ALLOW_ORIGINS")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and scope["path"] not in OPEN:
            app = self._refusal(scope) or app
        await app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        if why := self._own.refusal(scope["headers"]):
            return JSONResponse({"detail": why}, status_code=403)
        given = dict(scope["headers"])
        has_body = given.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in given
        return JSONResponse({"detail": NOT_JSON}, status_code=415) if has_body and not is_json(given.items()) else None

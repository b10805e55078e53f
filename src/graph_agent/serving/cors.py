"""Lets pages of other sites read the answers, if the operator names the sites. Source: the Fetch standard, CORS."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_agent.serving.chunks import StartsChanged
from graph_agent.settings import Settings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

PREFLIGHT_SECONDS = 600
"""How long a browser may remember that it may ask."""


class Cors:
    """ASGI middleware: answers the preflight requests of the named pages, and marks the answers that they may read.

    Everything else is answered as without it. A page is never allowed to send cookies. It sends the bearer token
    itself, in a header, which another page cannot make the browser do.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._pages = settings.page_origins
        self._for_pages = CORSMiddleware(
            app,
            allow_origins=self._pages,
            allow_methods=METHODS,
            # Whatever headers a client has: OpenAI's SDKs send ten of their own.
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["*"],
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        # Another number of origins than one is not what a browser sends.
        elif len(given := Headers(scope=scope).getlist("origin")) == 1 and given[0] in self._pages:
            await self._for_pages(scope, receive, send)
        else:
            await self._app(scope, receive, StartsChanged(send, _told_apart))


def _told_apart(start: Message) -> Message:
    """Caches must not give the answer for one page to another."""
    start.setdefault("headers", [])
    MutableHeaders(scope=start).add_vary_header("Origin")
    return start

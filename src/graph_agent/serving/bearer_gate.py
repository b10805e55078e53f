"""The bearer token every request must carry where the service is hosted outside Databricks Apps."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import Unauthenticated
from graph_agent.serving.errors import error_response
from graph_agent.serving.identity import has_bearer_token
from graph_agent.serving.mounting import path_of
from graph_agent.settings import Settings

OPEN = frozenset({"/health"})
"""The one address for probes that cannot carry a token; it says nothing but that the process answers."""

REFUSED = "send one header 'Authorization: Bearer …' with the token of GRAPH_AGENT_BEARER_TOKEN"


class BearerGate:
    """ASGI middleware: 401 for every request without the token, whatever its address, but for `/health`."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        # Settings and not the token: Starlette shows a middleware's arguments in its repr.
        self._app = app
        self._bearer_token = settings.bearer_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._app
        if scope["type"] == "http" and path_of(scope) not in OPEN and self._bearer_token is not None:
            given = set(Headers(scope=scope).getlist("authorization"))
            if len(given) != 1 or not has_bearer_token(given.pop(), self._bearer_token):
                app = error_response(Unauthenticated(REFUSED))
        await app(scope, receive, send)

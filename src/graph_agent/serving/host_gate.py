"""Keeps web pages from using a service on this machine. The `Host` and `Origin` headers decide."""

from collections.abc import Awaitable, Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import ForeignPage
from graph_agent.serving.handshakes import refusal
from graph_agent.serving.mounting import path_of, prefix_of
from graph_agent.settings import Settings
from graph_agent.trusted_hosts import TrustedHosts, is_of_same_host

OPEN = frozenset({"/health"})
"""Addresses for probes, which may use any host name. Their answers say only that the process is alive."""


FOREIGN_PAGE = (
    "a page of another site may not open a WebSocket here; to allow it, add its origin to GRAPH_AGENT_CORS_ORIGINS"
)


class HostGate:
    """ASGI middleware for a service without a token: answers 403 to requests from other sites' pages, and to requests
    for host names that are not this server's.

    An app that is mounted in a host leaves this check to the host, because only the host knows its names.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        remedy = "add its name to GRAPH_AGENT_ALLOWED_HOSTS"
        self._own = TrustedHosts.bound_to(
            settings.host, settings.host_names, origins=settings.page_origins, remedy=remedy
        )

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # No coroutine of its own, which would stay for as long as the answer is written.
        app: ASGIApp = self._app
        if scope["type"] in ("http", "websocket") and path_of(scope) not in OPEN and not prefix_of(scope):
            why = self._own.refusal(scope["headers"])
            if why is not None:
                app = refusal(ForeignPage(why))
        return app(scope, receive, send)


class OriginGate:
    """ASGI middleware: answers 403 to WebSocket handshakes of other sites' pages, unless the operator names the site.

    A browser lets every page open a WebSocket to every site, and sends that site's cookies, with which a proxy such as
    that of Databricks Apps signs the user in. With `has_host_gate`, a `HostGate` decides, but not for an app that is
    mounted in a host.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, has_host_gate: bool) -> None:
        self._app = app
        self._origins = settings.page_origins
        self._has_host_gate = has_host_gate

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # No coroutine of its own, which would stay for as long as the answer is written.
        app: ASGIApp = self._app
        decides = scope["type"] == "websocket" and not (self._has_host_gate and not prefix_of(scope))
        if decides and not self._allows(scope["headers"]):
            app = refusal(ForeignPage(FOREIGN_PAGE))
        return app(scope, receive, send)

    def _allows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        return (len(origins) == 1 and origins[0] in self._origins) or is_of_same_host(headers)

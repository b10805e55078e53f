"""Keeps web pages from using a service on this machine. The `Host` and `Origin` headers decide."""

from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import ForeignPage
from graph_agent.serving.errors import error_response
from graph_agent.serving.mounting import path_of, prefix_of
from graph_agent.settings import Settings
from graph_agent.trusted_hosts import TrustedHosts

OPEN = frozenset({"/health"})
"""Addresses for probes, which may use any host name. Their answers say only that the process is alive."""


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._app
        if scope["type"] == "http" and path_of(scope) not in OPEN and not prefix_of(scope):
            refusal = self._own.refusal(scope["headers"])
            if refusal is not None:
                app = error_response(ForeignPage(refusal))
        await app(scope, receive, send)

"""Web pages may not drive a service on this machine: who may is decided by the names it is asked under."""

from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import ForeignPage
from graph_agent.serving.errors import error_response
from graph_agent.serving.mounting import path_of, prefix_of
from graph_agent.settings import Settings
from graph_agent.trusted_hosts import TrustedHosts

OPEN = frozenset({"/health"})
"""Probes ask under any name; it says nothing but that the process answers."""


class HostGate:
    """ASGI middleware for a service that asks for no token: 403 for requests of foreign pages, or under foreign names.

    An app mounted in another one leaves that to its host, which alone knows its names.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        remedy = "add its name to GRAPH_AGENT_ALLOWED_HOSTS"
        self._own = TrustedHosts.bound_to(settings.host, settings.host_names, remedy=remedy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self._app
        if scope["type"] == "http" and path_of(scope) not in OPEN and not prefix_of(scope):
            refusal = self._own.refusal(scope["headers"])
            if refusal is not None:
                app = error_response(ForeignPage(refusal))
        await app(scope, receive, send)

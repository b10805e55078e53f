"""`/metrics`: the metrics of the service, for Prometheus."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.errors import RouteNotFound
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.wire_schemas import STRING
from graph_agent.serving.metrics import ServiceMetrics
from graph_agent.serving.operations import Answer, Answers, described
from graph_agent.serving.routes.answers import route
from graph_agent.threads import run_in_service_thread
from graph_agent.trusted_hosts import is_loopback

ADDRESSES = ("/metrics", "/api/metrics")
"""On Databricks Apps a bearer token reaches only the second one."""


def _answers(_: Dialect) -> Answers:
    return {200: Answer("The metrics of all processes.", {"*/*": STRING})}


class MetricsRoutes:
    """The metrics."""

    def __init__(self, metrics: ServiceMetrics, *, only_loopback: bool) -> None:
        """With `only_loopback`, the address does not exist for clients on other machines."""
        self._metrics = metrics
        self._only_loopback = only_loopback

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(path, GET=self.read) for path in ADDRESSES]

    @described("Service", _answers, errors=(RouteNotFound,))
    async def read(self, request: Request) -> Response:
        """The metrics in the form of Prometheus, or of OpenMetrics if the request accepts it."""
        # The app may be mounted in a host that does not bind loopback. A client without an address is on this machine.
        if self._only_loopback and request.client is not None and not is_loopback(request.client.host):
            raise RouteNotFound(
                "the metrics are only for clients on this machine; set GRAPH_AGENT_METRICS=on for others"
            )
        self._metrics.sample()
        accept = request.headers.get("accept", "")
        content, media_type = await run_in_service_thread(self._metrics.page, accept)
        return Response(content, headers={"content-type": media_type, "cache-control": "no-store"})

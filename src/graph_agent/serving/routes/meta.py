"""`/health`, `/ready` and `/agent/info`: the process answers, runs can start, and which graphs there are."""

from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graph_agent.errors import NoThreadFree, NotReady
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.wire_schemas import ERROR_FIELDS, STRING, TEXT_OR_NULL, array_of, closed, const
from graph_agent.redaction import redact_value
from graph_agent.runs.registry import Runs, stopping
from graph_agent.serving.dependencies import Dependencies
from graph_agent.serving.errors import retry_headers
from graph_agent.serving.gate import Gate
from graph_agent.serving.operations import JSON, OF_GRAPHS, RETRY_AFTER, Answer, Answers, described
from graph_agent.serving.routes.answers import route
from graph_agent.threads import NodeThreads

TAG = "Service"


def _ready(_: Dialect) -> Answers:
    waiting = closed("NotReady", {"status": const("not_ready"), "error": closed(None, ERROR_FIELDS), "detail": STRING})
    return {
        200: Answer("Runs can start.", {JSON: closed("Ready", {"status": const("ready")})}),
        503: Answer("No run can start now.", {JSON: waiting}, {RETRY_AFTER: "Seconds until the next try."}),
    }


class MetaRoutes:
    """The routes about the service itself, one method for each address."""

    def __init__(
        self,
        *,
        gate: Gate,
        runs: Runs,
        nodes: NodeThreads,
        dependencies: Dependencies,
        app_name: str | None = None,
    ) -> None:
        self._gate = gate
        self._runs = runs
        self._nodes = nodes
        self._dependencies = dependencies
        self._app_name = app_name

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [
            route("/health", GET=self.health),
            route("/ready", GET=self.ready),
            route("/agent/info", GET=self.info),
        ]

    @described(TAG, closed("Health", {"status": const("healthy")}), says="The process answers.")
    async def health(self, request: Request) -> Response:
        """Says that the process answers, and nothing about graphs. The body is that of MLflow's AgentServer."""
        return JSONResponse({"status": "healthy"})

    @described(TAG, _ready)
    async def ready(self, request: Request) -> Response:
        """200 while runs can start. 503 while graphs load, while the service stops, and while the store or the
        workspace does not answer."""
        if self._runs.draining or self._gate.service is None:
            why = stopping() if self._runs.draining else self._gate.failure or NotReady("the graphs are still loading")
            # Always `not_ready`, whatever the cause: a probe reads one code, and the message has the cause.
            return _not_ready(NotReady(why.message))
        # A run could start, but its first synchronous node would have no thread. Probes can then restart the process.
        if self._nodes.held >= self._nodes.most:
            return _not_ready(NoThreadFree(self._nodes.shortage()))
        if (problem := await self._dependencies.problem()) is not None:
            return _not_ready(NotReady(problem))
        return JSONResponse({"status": "ready"})

    @described(
        TAG,
        closed(
            "AgentInfo",
            {
                "name": STRING,
                "use_case": const("agent"),
                "agent_api": const("responses"),
                "mlflow_version": STRING,
                "default_graph": STRING,
                "graphs": array_of(closed("GraphInfo", {"name": STRING, "description": TEXT_OR_NULL})),
            },
        ),
        says="The service and its graphs.",
        errors=OF_GRAPHS,
    )
    async def info(self, request: Request) -> Response:
        """Describes the service: the fields of MLflow's AgentServer, and the graphs."""
        service = await self._gate.passed()
        await service.catalog.refresh()
        cards = service.catalog.cards.items()
        graphs = [{"name": name, "description": card.description} for name, card in cards]
        return JSONResponse(
            {
                # AgentServer also reports the app's name where it runs as a Databricks App.
                "name": self._app_name or service.catalog.default,
                "use_case": "agent",
                "agent_api": "responses",
                "mlflow_version": version("mlflow"),
                "default_graph": service.catalog.default,
                "graphs": graphs,
            }
        )


def _not_ready(error: NotReady) -> Response:
    body = {"status": "not_ready"} | redact_value(error.body())
    return JSONResponse(body, status_code=error.status, headers=retry_headers(error))

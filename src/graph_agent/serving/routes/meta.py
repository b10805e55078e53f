"""`/health`, `/ready` and `/agent/info`: whether the service answers, whether runs can start, what is served."""

from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graph_agent.errors import (
    NoThreadFree,
    NotReady,
)
from graph_agent.redaction import redact_value
from graph_agent.runs.registry import Runs, stopping
from graph_agent.serving.errors import retry_headers
from graph_agent.serving.gate import Gate
from graph_agent.threads import NodeThreads

if TYPE_CHECKING:
    pass


class MetaRoutes:
    """One method for each address."""

    def __init__(self, *, gate: Gate, runs: Runs, nodes: NodeThreads, app_name: str | None = None) -> None:
        self._gate = gate
        self._runs = runs
        self._nodes = nodes
        self._app_name = app_name

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/agent/info", self.info),
        ]

    async def health(self, request: Request) -> Response:
        """The process answers, in the words of MLflow's AgentServer; says nothing about graphs."""
        return JSONResponse({"status": "healthy"})

    async def ready(self, request: Request) -> Response:
        """200 while runs can start, 503 before and after."""
        if self._runs.draining or self._gate.service is None:
            why = stopping() if self._runs.draining else self._gate.failure or NotReady("the graphs are still loading")
            error = NotReady(why.message)
            return _not_ready(error)
        if self._nodes.held >= self._nodes.most:
            return _not_ready(NoThreadFree(self._nodes.shortage()))
        return JSONResponse({"status": "ready"})

    async def info(self, request: Request) -> Response:
        """What is served: MLflow's fields, and the graphs."""
        service = await self._gate.passed()
        await service.catalog.refresh()
        graphs = [{"name": spec.name, "description": spec.description} for spec in service.catalog.specs]
        return JSONResponse(
            {
                # As AgentServer does: the app's name where there is an app.
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

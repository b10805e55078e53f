"""`GraphResponsesAgent`: a graph as MLflow's `ResponsesAgent`, for notebooks, evaluation and batch scoring.

It starts the same runs as the service, behind a synchronous interface. Source: MLflow, "ResponsesAgent for model
serving".
"""

import contextvars
import dataclasses
import inspect
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from pathlib import Path
from types import MethodType
from typing import Any, Literal

import mlflow
from mlflow.entities import SpanStatusCode
from mlflow.pyfunc import ResponsesAgent  # type: ignore[attr-defined]
from mlflow.pyfunc.utils.data_validation import wrap_non_list_predict_pydantic
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, ResponsesAgentStreamEvent

from graph_agent.app_context import AppContext
from graph_agent.catalog.catalog import Catalog
from graph_agent.catalog.manifest import read_manifest
from graph_agent.databricks.model_serving import serving_user_token
from graph_agent.identity.caller import Caller
from graph_agent.protocol.dialects import RESPONSES
from graph_agent.protocol.events import Event
from graph_agent.protocol.requests import parse_request
from graph_agent.redaction import HIDDEN_VALUES, secrets_of
from graph_agent.runs.graph_source import Graphs
from graph_agent.runs.observers import RunObserver
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.settings import NO_LIMITS, Settings, as_environment
from graph_agent.sync import call, iterate
from graph_agent.tracing import RunRecord, RunTrace, attach_to_active_span

logger = logging.getLogger(__name__)

_CHECKED: Any = wrap_non_list_predict_pydantic


class GraphResponsesAgent(ResponsesAgent):
    """A graph of `langgraph.json` with the methods `predict` and `predict_stream`.

    It can be used from several threads and inside of a running event loop. MLflow opens the trace of each call, and the
    steps of the run become spans in it. With `GRAPH_AGENT_TRACING=off` no trace is opened.

    Calls on behalf of the user carry the token that Model Serving has for the current request. Elsewhere there is no
    token, and such a call is refused.

    Raises:
        BadSetting: a setting that was passed, or a variable of the environment, is wrong.
        GraphNotLoaded, UnknownGraph: on first use; the message says what to change.
    """

    def __init__(self, *, config: str | Path | None = None, graph: str | None = None, **settings: Any) -> None:
        self._settings = Settings.from_environment(
            config=Path(config) if config else None, default_graph=graph, **settings
        )
        self._app = AppContext(self._settings)
        HIDDEN_VALUES.add([*secrets_of(os.environ), *secrets_of(as_environment(self._settings))])
        if self._settings.limits != NO_LIMITS:
            logger.warning(
                "GRAPH_AGENT_LIMIT_… have no effect here: they are counted in a store, which needs the service"
            )
        self._runs = Runs(budgets=self._settings.budgets)
        self._catalog: Catalog | None = None
        self._opening = threading.Lock()
        if self._settings.tracing == "off":
            self._open_no_traces()

    # MLflow's own base classes disagree on these signatures; this is the one its documentation gives.
    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:  # type: ignore[override]
        """Run the graph and return the whole response.

        Raises:
            AgentError: the request is wrong or the run failed. The message is safe to show.
        """
        response: dict[str, Any] = {}
        for event in self._events(request, mode="reply"):
            response = event.get("response", response)
        return ResponsesAgentResponse(**response)

    def predict_stream(  # type: ignore[override]
        self, request: ResponsesAgentRequest
    ) -> Generator[ResponsesAgentStreamEvent, None, None]:
        """Run the graph and yield the events of `/responses`, the terminal event last. Closing it stops the graph.

        Raises:
            AgentError: the request is wrong, or the run failed; then the `error` and `response.failed` events come
                first.
        """
        for event in self._events(request, mode="stream"):
            yield ResponsesAgentStreamEvent(**event)

    def _open_no_traces(self) -> None:
        # MLflow wraps both methods in a span when the class is created. The instance gets the unwrapped methods.
        for name in ("predict", "predict_stream"):
            bare = inspect.unwrap(getattr(type(self), name))
            checked = _CHECKED(bare, ResponsesAgentRequest, "The request is not valid.")
            setattr(self, name, MethodType(checked, self))

    def _events(
        self, request: ResponsesAgentRequest, *, mode: Literal["reply", "stream"]
    ) -> Generator[Event, None, None]:
        catalog = self._opened()
        body = request.model_dump_json(exclude_none=True).encode()
        parsed = parse_request(body, graphs=catalog.names, fallback=catalog.default)
        invocation = dataclasses.replace(parsed, mode=mode)
        span = mlflow.get_current_active_span()
        steps: list[RunRecord] = []
        asked = RunRequest(
            invocation=invocation,
            dialect=RESPONSES,
            owner=Caller(self._settings.local_user),
            accepted_at=time.time(),
        )
        events = _events_of(
            self._runs,
            asked,
            self._scope(),
            graphs=catalog,
            observers=[] if span is None else [RunTrace(steps.append)],
        )
        try:
            yield from iterate(lambda: events)
        # Everything, also GeneratorExit: the trace of a run that was stopped needs its steps too.
        except BaseException as error:
            _attach(steps, span)
            if isinstance(error, GeneratorExit) and span is not None:
                # MLflow ends its span on exceptions and at the end, not when the caller stops early.
                span.end(status=SpanStatusCode.ERROR)
            raise
        _attach(steps, span)

    def _scope(self) -> Scope:
        """The user's token, this agent's settings, and the caller's context variables with MLflow's active span."""
        token = None if self._settings.authorization == "app" else serving_user_token()
        return Scope(token=token, app=self._app, ambient=contextvars.copy_context())

    def _opened(self) -> Catalog:
        with self._opening:
            if self._catalog is None:
                catalog = Catalog(
                    read_manifest(self._settings.config), default=self._settings.default_graph, app=self._app
                )
                call(catalog.open)
                self._catalog = catalog
        return self._catalog


async def _events_of(
    runs: Runs, request: RunRequest, scope: Scope, *, graphs: Graphs, observers: Sequence[RunObserver]
) -> AsyncGenerator[Event, None]:
    run = await runs.start(request, scope, graphs=graphs, observers=observers)
    reader = runs.read(run)
    try:
        async for batch in reader:
            for entry in batch:
                yield entry.event
    finally:
        await reader.leave()
    if run.failure is not None:
        raise run.failure


def _attach(steps: Iterable[RunRecord], span: Any) -> None:
    """Put the steps of a run under MLflow's span."""
    # Without the user: here the run's owner is only the default name, and MLflow knows the real caller.
    for record in steps:
        attach_to_active_span(dataclasses.replace(record, user=None), span)

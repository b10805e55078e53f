"""Traces for an app: one per run, and one exporter for all of them."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from graph_agent.app_context import AppContext
from graph_agent.errors import BadSetting
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.redaction import current_hidden_values
from graph_agent.tracing.collector import CollectorStore, collector_of
from graph_agent.tracing.destinations import id_at
from graph_agent.tracing.exporter import TraceExporter
from graph_agent.tracing.payloads import CHAT_FORM, CHAT_USAGE, STATUS
from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.recorder import RunRecorder
from graph_agent.tracing.records import RunRecord
from graph_agent.tracing.version import VERSION, version_of

if TYPE_CHECKING:
    from graph_agent.runs.observers import Outcome, RunInfo

logger = logging.getLogger(__name__)

FAILED = {"failed": None, "cancelled": "Cancelled"}
"""Statuses of a run that make its trace an error, and the error's text. `None` stands for the type of the exception
that the graph raised."""


class RunTrace:
    """An observer of one run that records its trace, and delivers the trace for export when the run has ended."""

    def __init__(
        self, deliver: Callable[[RunRecord], None], *, location: Callable[[], str | None] = lambda: None
    ) -> None:
        """`deliver` gets the record, in the thread where the run ends. `location` returns the tables of Unity Catalog
        that store the trace, or `None`."""
        self._deliver = deliver
        self._location = location
        self._recorder: RunRecorder | None = None
        self._record: RunRecord | None = None

    @property
    def handler(self) -> RunRecorder | None:
        """The callback handler that records the run's steps. `None` before the run starts."""
        return self._recorder

    @property
    def trace_id(self) -> str | None:
        """The trace's id, or `None` before the run starts. For tables of Unity Catalog it has their form of an id as
        soon as the tables are known."""
        return None if self._recorder is None else id_at(self._recorder.trace_id, self._location())

    def whole(self) -> dict[str, Any] | None:
        """The trace in MLflow's form, or `None` until the run has ended. The first call imports MLflow: do not call it
        on the event loop."""
        if self._record is None:
            return None
        with IMPORT_LOCK:
            from graph_agent.tracing.mlflow_store import trace_as_dict
        return trace_as_dict(self._record, self._location())

    def started(self, run: "RunInfo") -> None:
        """Begin the trace. Called before the run's first step."""
        invocation = run.request.invocation
        inputs: dict[str, Any] = {"messages": list(run.messages)}
        if invocation.custom_inputs:
            inputs["custom_inputs"] = dict(invocation.custom_inputs)
        tags = {"graph": run.graph}
        if invocation.client_request_id:
            tags["client_request_id"] = invocation.client_request_id
        self._recorder = RunRecorder(
            graph=run.graph,
            inputs=inputs,
            session=run.request.conversation,
            user=run.request.owner.user,
            tags=tags,
        )

    def ended(self, outcome: "Outcome") -> None:
        """Close the trace and deliver it. Called after the run's last step."""
        # A run that was cancelled before it started has no trace.
        if self._recorder is None:
            return
        status, answer = outcome.status, {"role": "assistant", "content": outcome.answer}
        record = self._recorder.close(
            # A run that waits for a person's decision has not failed, unless nobody can give it.
            status="ERROR" if status in FAILED or outcome.error is not None else "OK",
            error=FAILED.get(status) if outcome.error is None or status in FAILED else type(outcome.error).__name__,
            outputs={"choices": [{"message": answer}], "output": outcome.output},
            attributes={STATUS: status, **CHAT_FORM, **usage_attributes(outcome.usage.fields())},
        )
        # The exporter's thread redacts the record later, and does not have this run's context.
        self._record = replace(record, hidden=current_hidden_values())
        self._deliver(self._record)


class Tracer:
    """Creates the traces of runs and exports them in the background."""

    def __init__(self, exporter: TraceExporter, *, beside: TraceExporter | None = None) -> None:
        """`beside` gets the same traces for another store, whose state no caller learns."""
        self._exporter = exporter
        self._beside = beside

    @classmethod
    def of(cls, app: AppContext) -> Self:
        """Export to `tracking_uri` of the app's settings, or to `MLFLOW_TRACKING_URI` of its environment, or else to a
        SQLite file in the cache folder. Export to a collector of OpenTelemetry too, if the environment names one."""
        exporter = TraceExporter(
            app.settings.tracking_uri,
            app.settings.experiment,
            environ=app.environ,
            app=app,
            default_uri=f"sqlite:///{app.settings.cache_dir / 'traces.db'}",
        )
        return cls(exporter, beside=_to_collector(app))

    def start(self, *, at_once: bool = False) -> None:
        """Open the store, one that needs MLflow with the first trace, or now with `at_once`. Call it after the graphs
        are loaded: two threads that import the same packages slow each other down."""
        self._exporter.start(at_once=at_once)
        if self._beside is not None:
            self._beside.start()

    def trace(self) -> RunTrace:
        """A new trace for the list of observers of one run."""
        return RunTrace(self._deliver, location=lambda: self._exporter.location)

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """Store a person's feedback on a trace, in place of the assessment with the id `assessment`. Returns the id.
        Blocks: do not call it on the event loop.

        Raises:
            StoreUnavailable: the store does not answer, or is not open yet.
            Missing: there is no such trace.
            RecordRefused: the store does not take it.
        """
        return self._exporter.rate(trace_id, rating, assessment)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until every trace so far is stored or dropped. False if the time ran out first."""
        ends = time.monotonic() + timeout_seconds
        done = self._exporter.flush(timeout_seconds)
        return done if self._beside is None else self._beside.flush(max(0.0, ends - time.monotonic())) and done

    def close(self, timeout_seconds: float) -> None:
        """Deliver the queued traces within the time. Blocks: do not call it on the event loop."""
        ends = time.monotonic() + timeout_seconds
        self._exporter.close(timeout_seconds)
        if self._beside is not None:
            # Its thread has worked meanwhile.
            self._beside.close(max(0.0, ends - time.monotonic()))

    def _deliver(self, record: RunRecord) -> None:
        self._exporter.submit(record)
        if self._beside is not None:
            self._beside.submit(record)


def _to_collector(app: AppContext) -> TraceExporter | None:
    """The exporter to the collector that the environment names. A variable that cannot be used is a warning: others
    share these variables, and a service without them runs as well."""
    try:
        collector = collector_of(app.environ)
    except BadSetting as error:
        logger.warning("traces do not go to an OpenTelemetry collector: %s", error.message)
        return None
    if collector is None:
        return None
    return TraceExporter(
        None,
        app.settings.experiment,
        environ=app.environ,
        app=app,
        opener=lambda: CollectorStore(collector, version=version_of(app.environ).get(VERSION)),
        name="the OpenTelemetry collector",
        warns_once=True,
    )


def usage_attributes(usage: Mapping[str, Any]) -> dict[str, Any]:
    """A run's token counts as an attribute of its root span. Empty if nothing was counted."""
    counts = {name: usage.get(name) for name in ("input_tokens", "output_tokens", "total_tokens")}
    return {CHAT_USAGE: counts} if any(counts.values()) else {}

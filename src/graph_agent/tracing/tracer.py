"""Traces for the service: a recorder per run, an exporter per process."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from graph_agent.caller import Caller
from graph_agent.late import IMPORTING
from graph_agent.redaction import hidden_here
from graph_agent.settings import Settings
from graph_agent.tracing.destinations import id_at
from graph_agent.tracing.exporter import TraceExporter
from graph_agent.tracing.payloads import CHAT_FORM, CHAT_USAGE
from graph_agent.tracing.recorder import RunRecorder
from graph_agent.tracing.records import RunRecord

if TYPE_CHECKING:
    from graph_agent.protocol.incoming import Invocation

FAILED = {"failed": None, "cancelled": "Cancelled", "interrupted": "ApprovalsNotServed"}
"""Ends of a run that make its trace an error, and what it says; `None` is the type of what the graph raised."""


class RunTrace:
    """The trace of one run, from before its first step until it is handed over for export."""

    def __init__(
        self,
        recorder: RunRecorder,
        deliver: Callable[[RunRecord], None],
        location: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.handler = recorder
        self._deliver = deliver
        self._location = location
        self._record: RunRecord | None = None

    @property
    def trace_id(self) -> str:
        """The trace's id; where it is kept in tables of Unity Catalog, theirs, once they are known."""
        return id_at(self.handler.trace_id, self._location())

    def whole(self) -> dict[str, Any] | None:
        """The trace as MLflow writes it; `None` until the run has ended. The first call imports MLflow: call it off
        the event loop."""
        if self._record is None:
            return None
        with IMPORTING:
            from graph_agent.tracing.mlflow_store import written_out
        return written_out(self._record, self._location())

    def ended(self, *, status: str, answer: str, output: list[dict[str, Any]], usage: dict[str, Any]) -> None:
        """The run is over: `status` is `completed`, `incomplete`, `failed` or `cancelled`."""
        record = self.handler.close(
            status="ERROR" if status in FAILED else "OK",
            error=FAILED.get(status),
            outputs={"choices": [{"message": {"role": "assistant", "content": answer}}], "output": output},
            attributes={"graph_agent.status": status, **CHAT_FORM, **usage_attributes(usage)},
        )
        self._record = replace(record, hidden=hidden_here())
        self._deliver(self._record)


def open_trace(
    *,
    invocation: "Invocation",
    caller: Caller,
    graph: str,
    deliver: Callable[[RunRecord], None],
    location: Callable[[], str | None] = lambda: None,
) -> RunTrace:
    """A run's trace that goes to `deliver` when it has ended, in the thread where it ended. `location` says in which
    tables of Unity Catalog it is kept."""
    inputs: dict[str, Any] = {"messages": list(invocation.messages)}
    if invocation.custom_inputs:
        inputs["custom_inputs"] = dict(invocation.custom_inputs)
    tags = {"graph": graph}
    if invocation.client_request_id:
        tags["client_request_id"] = invocation.client_request_id
    recorder = RunRecorder(graph=graph, inputs=inputs, session=invocation.thread, user=caller.user, tags=tags)
    return RunTrace(recorder, deliver, location)


class Tracer:
    """Opens a trace per run and exports them in the background."""

    def __init__(self, exporter: TraceExporter) -> None:
        self._exporter = exporter

    @classmethod
    def from_settings(cls, settings: Settings, environ: Mapping[str, str] | None = None) -> Self:
        """Export to `settings.tracking_uri`, else `MLFLOW_TRACKING_URI`, else a SQLite file in the cache folder."""
        exporter = TraceExporter(
            settings.tracking_uri,
            settings.experiment,
            environ=environ,
            default_uri=f"sqlite:///{settings.cache_dir / 'traces.db'}",
        )
        return cls(exporter)

    def start(self) -> None:
        """Open the store ahead of the first trace. Call it when the graphs are loaded: where the store is a database
        this imports MLflow, and two threads that import the same packages at once slow each other down."""
        self._exporter.start()

    def open(self, *, invocation: "Invocation", caller: Caller, graph: str) -> RunTrace:
        """The trace of a run that is about to start; its `trace_id` may be told at once."""
        return open_trace(
            invocation=invocation,
            caller=caller,
            graph=graph,
            deliver=self._exporter.submit,
            location=lambda: self._exporter.location,
        )

    def flush(self, timeout_seconds: float) -> bool:
        """Whether every trace so far was stored or given up within the time."""
        return self._exporter.flush(timeout_seconds)

    def close(self, timeout_seconds: float) -> None:
        """Deliver what waits, for at most so long. Blocks: call it off the event loop."""
        self._exporter.close(timeout_seconds)


def usage_attributes(usage: Mapping[str, Any]) -> dict[str, Any]:
    """A run's token counts as the attribute of its root span; none where nothing was counted."""
    counts = {name: usage.get(name) for name in ("input_tokens", "output_tokens", "total_tokens")}
    return {CHAT_USAGE: counts} if any(counts.values()) else {}

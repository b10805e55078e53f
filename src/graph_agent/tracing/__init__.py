"""MLflow traces of runs: recorded in memory with explicit parents, exported by a thread of their own."""

from graph_agent.tracing.exporter import TraceExporter
from graph_agent.tracing.recorder import NO_SPAN, RunRecorder, record_retrieval
from graph_agent.tracing.records import RunRecord, SpanRecord
from graph_agent.tracing.replay import attach_to_active_span
from graph_agent.tracing.tracer import RunTrace, Tracer

__all__ = [
    "NO_SPAN",
    "RunRecord",
    "RunRecorder",
    "RunTrace",
    "SpanRecord",
    "TraceExporter",
    "Tracer",
    "attach_to_active_span",
    "record_retrieval",
]

"""MLflow traces of runs. They are recorded in memory with explicit parents, and exported by a separate thread."""

from graph_agent.tracing.exporter import TraceExporter
from graph_agent.tracing.payloads import LEFT_OUT
from graph_agent.tracing.recorder import RunRecorder
from graph_agent.tracing.records import RunRecord, SpanRecord
from graph_agent.tracing.replay import attach_to_active_span
from graph_agent.tracing.retrieval import record_retrieval, record_search
from graph_agent.tracing.tracer import RunTrace, Tracer

__all__ = [
    "LEFT_OUT",
    "RunRecord",
    "RunRecorder",
    "RunTrace",
    "SpanRecord",
    "TraceExporter",
    "Tracer",
    "attach_to_active_span",
    "record_retrieval",
    "record_search",
]

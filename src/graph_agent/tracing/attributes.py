"""The attributes MLflow reads a span's meaning from."""

from collections.abc import Iterator
from typing import Any

from graph_agent.tracing.payloads import CHAT_USAGE
from graph_agent.tracing.records import RunRecord, SpanRecord
from graph_agent.tracing.values import to_json
from graph_agent.tracing.version import MODEL

SPAN_TYPE = "mlflow.spanType"
INPUTS = "mlflow.spanInputs"
OUTPUTS = "mlflow.spanOutputs"
SESSION = "session.id"
USER = "user.id"
TRACE_TAG = "mlflow.traceTag."
TRACE_NAME = "mlflow.traceName"
MOST_IDENTITY = 250
"""Characters of a session or user; MLflow refuses the whole batch for a longer one."""


def attributes_of(span: SpanRecord) -> Iterator[tuple[str, str]]:
    """Names and JSON values of one span."""
    yield SPAN_TYPE, to_json(span.kind)
    if span.inputs is not None:
        yield INPUTS, to_json(span.inputs)
    if span.outputs is not None:
        yield OUTPUTS, to_json(span.outputs)
    for name, value in span.attributes.items():
        yield name, to_json(value)


def trace_attributes(record: RunRecord) -> Iterator[tuple[str, str]]:
    """What the root span tells of the whole trace, where the store learns of it from spans alone; plain text."""
    if record.session:
        yield SESSION, record.session[:MOST_IDENTITY]
    if record.user:
        yield USER, record.user[:MOST_IDENTITY]
    if MODEL in record.metadata:
        yield MODEL, record.metadata[MODEL]
    yield TRACE_TAG + TRACE_NAME, record.root.name
    for name, value in record.tags.items():
        yield TRACE_TAG + name, value


def usage_of(record: RunRecord) -> dict[str, int]:
    """Tokens of the whole run: the root's own figure, or the sum over its model calls."""
    counted = [span.attributes[CHAT_USAGE] for span in record.spans[1:] if _counts(span)]
    if _counts(record.root):
        counted = [record.root.attributes[CHAT_USAGE]]
    names = ("input_tokens", "output_tokens", "total_tokens")
    return {name: sum(_number(usage.get(name)) for usage in counted) for name in names} if counted else {}


def _counts(span: SpanRecord) -> bool:
    return CHAT_USAGE in span.attributes


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0

"""The attributes MLflow reads a span's meaning from, without the secrets of the request that the run answered."""

from typing import Any

from graph_agent.redaction import redact, with_hidden_values
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


def attributes_of(record: RunRecord, span: SpanRecord) -> dict[str, str]:
    """Names and JSON values of one span of the run."""
    values = {SPAN_TYPE: span.kind, INPUTS: span.inputs, OUTPUTS: span.outputs}
    told = {name: value for name, value in values.items() if value is not None} | span.attributes
    # Whichever thread writes it serves no request, and what this one hides came with its record.
    with with_hidden_values(record.hidden):
        return {name: to_json(value) for name, value in told.items()}


def trace_attributes(record: RunRecord) -> dict[str, str]:
    """What the root span tells of the whole trace, where the store learns of it from spans alone; plain text."""
    told = {
        SESSION: identity_of(record, record.session),
        USER: identity_of(record, record.user),
        MODEL: record.metadata.get(MODEL),
        TRACE_TAG + TRACE_NAME: name_of(record, record.root),
    }
    return {name: value for name, value in told.items() if value} | {
        TRACE_TAG + name: value for name, value in tags_of(record).items()
    }


def name_of(record: RunRecord, span: SpanRecord) -> str:
    """What the span is called: of a tool that does not exist, whatever the model made up."""
    with with_hidden_values(record.hidden):
        return redact(span.name)


def identity_of(record: RunRecord, value: str | None) -> str | None:
    """A session or user, as long as MLflow takes it; a client may name a session by its secret."""
    with with_hidden_values(record.hidden):
        return redact(value)[:MOST_IDENTITY] if value else None


def tags_of(record: RunRecord) -> dict[str, str]:
    """The run's tags; one of them is the client's own words."""
    with with_hidden_values(record.hidden):
        return {name: redact(value) for name, value in record.tags.items()}


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

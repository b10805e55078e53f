"""The span attributes that MLflow reads, without the secrets of the request that the run answered."""

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
"""The longest session or user, in characters. MLflow refuses the whole batch because of a longer one."""


def attributes_of(record: RunRecord, span: SpanRecord) -> dict[str, str]:
    """The attributes of one span of the run: JSON by name."""
    values = {SPAN_TYPE: span.kind, INPUTS: span.inputs, OUTPUTS: span.outputs}
    known = {name: value for name, value in values.items() if value is not None} | span.attributes
    # The exporter's thread has no request context, so the request's hidden values come with the record.
    with with_hidden_values(record.hidden):
        return {name: to_json(value) for name, value in known.items()}


def trace_attributes(record: RunRecord) -> dict[str, str]:
    """The root span's attributes about the whole trace, in plain text. They are for stores that receive only spans."""
    values = {
        SESSION: identity_of(record, record.session),
        USER: identity_of(record, record.user),
        MODEL: record.metadata.get(MODEL),
        TRACE_TAG + TRACE_NAME: name_of(record, record.root),
    }
    return {name: value for name, value in values.items() if value} | {
        TRACE_TAG + name: value for name, value in tags_of(record).items()
    }


def name_of(record: RunRecord, span: SpanRecord) -> str:
    """The span's name without secrets. If a model calls a tool that does not exist, the name is the model's text."""
    with with_hidden_values(record.hidden):
        return redact(span.name)


def identity_of(record: RunRecord, value: str | None) -> str | None:
    """A session or user, cut to the length that MLflow accepts. It is redacted, because a client may use a secret as
    the name of a session."""
    with with_hidden_values(record.hidden):
        return redact(value)[:MOST_IDENTITY] if value else None


def tags_of(record: RunRecord) -> dict[str, str]:
    """The run's tags without secrets. One of them, `client_request_id`, is text of the client."""
    with with_hidden_values(record.hidden):
        return {name: redact(value) for name, value in record.tags.items()}


def usage_of(record: RunRecord) -> dict[str, int]:
    """Tokens of the whole run: the count of the root span, or else the sum over its model calls."""
    # Never both: the root's count already includes the calls.
    counted = [span.attributes[CHAT_USAGE] for span in record.spans[1:] if _counts(span)]
    if _counts(record.root):
        counted = [record.root.attributes[CHAT_USAGE]]
    names = ("input_tokens", "output_tokens", "total_tokens")
    return {name: sum(_number(usage.get(name)) for usage in counted) for name in names} if counted else {}


def _counts(span: SpanRecord) -> bool:
    return CHAT_USAGE in span.attributes


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0

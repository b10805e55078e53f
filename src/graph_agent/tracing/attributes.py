"""The span attributes that MLflow reads, without the secrets of the request that the run answered."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, get_args

from graph_agent.redaction import current_hidden_values, redact, with_hidden_values
from graph_agent.tracing.payloads import CHAT_FORM, CHAT_USAGE, STATUS
from graph_agent.tracing.records import Kind, RunRecord, SpanRecord
from graph_agent.tracing.shared_parts import with_shared_parts
from graph_agent.tracing.values import counts_as_json, to_json
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


OWN_WORDS = frozenset({STATUS, *CHAT_FORM})
"""Attributes whose values are words of this package, which hold no secret."""

_KINDS: Mapping[Kind, str] = {kind: f'"{kind}"' for kind in get_args(Kind)}
_HERE: AbstractContextManager[None] = nullcontext()


@contextmanager
def written_together(record: RunRecord) -> Iterator[None]:
    """Redact what several spans of the run have only once inside of the block."""
    with _hiding(record), with_shared_parts():
        yield


def _hiding(record: RunRecord) -> AbstractContextManager[None]:
    # The exporter's thread has no request context, so the request's hidden values come with the record.
    hidden = record.hidden
    return _HERE if hidden is None or hidden is current_hidden_values() else with_hidden_values(hidden)


def attributes_of(record: RunRecord, span: SpanRecord) -> dict[str, str]:
    """The attributes of one span of the run: JSON by name."""
    values = {INPUTS: span.inputs, OUTPUTS: span.outputs}
    known = {name: value for name, value in values.items() if value is not None} | span.attributes
    with _hiding(record):
        written = {SPAN_TYPE: _KINDS[span.kind]}
        for name, value in known.items():
            if name == CHAT_USAGE:
                written[name] = counts_as_json(value)
            elif name in OWN_WORDS:
                written[name] = f'"{value}"'
            else:
                written[name] = to_json(value)
    return written


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
    with _hiding(record):
        return redact(span.name)


def identity_of(record: RunRecord, value: str | None) -> str | None:
    """A session or user, cut to the length that MLflow accepts. It is redacted, because a client may use a secret as
    the name of a session."""
    with _hiding(record):
        return redact(value)[:MOST_IDENTITY] if value else None


def tags_of(record: RunRecord) -> dict[str, str]:
    """The run's tags without secrets. One of them, `client_request_id`, is text of the client."""
    with _hiding(record):
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

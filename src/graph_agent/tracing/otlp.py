"""Encodes runs as one OpenTelemetry export request, which MLflow servers accept at `/v1/traces`."""

import time
from collections.abc import Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from graph_agent.tracing.attributes import attributes_of, name_of, trace_attributes, written_together
from graph_agent.tracing.records import RunRecord, SpanRecord


def encode(record: RunRecord) -> bytes:
    """Encode one run as a serialized request. Requests can be concatenated: protobuf reads `encode(a) + encode(b)` as
    one request with both."""
    resource = ResourceSpans()
    spans = resource.scope_spans.add().spans
    with written_together(record):
        for span in record.spans:
            _write(spans.add(), record, span)
        for name, value in trace_attributes(record).items():
            _set(spans[0], name, value)
    request: bytes = ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()
    return request


def encode_all(records: Sequence[RunRecord]) -> bytes:
    """Encode several runs as one request."""
    parts = []
    for record in records:
        parts.append(encode(record))
        # Releases the GIL to the event loop, which would otherwise wait for the switch interval of 5 ms.
        time.sleep(0)
    return b"".join(parts)


def _write(target: Span, record: RunRecord, span: SpanRecord) -> None:
    target.trace_id = bytes.fromhex(record.trace_id.removeprefix("tr-"))
    target.span_id = span.id.to_bytes(8, "big")
    if span.parent is not None:
        target.parent_span_id = span.parent.id.to_bytes(8, "big")
    target.name = name_of(record, span)
    target.start_time_unix_nano = span.start_ns
    target.end_time_unix_nano = span.end_ns
    if span.error is None:
        target.status.code = Status.STATUS_CODE_OK
    else:
        target.status.code = Status.STATUS_CODE_ERROR
        target.status.message = span.error
    for name, value in attributes_of(record, span).items():
        _set(target, name, value)


def _set(target: Span, name: str, value: str) -> None:
    attribute = target.attributes.add()
    attribute.key = name
    attribute.value.string_value = value

"""Encodes runs as OpenTelemetry spans by its semantic conventions for generative AI.

Source: OpenTelemetry GenAI semantic conventions: `gen_ai.*` attributes, agent, inference, tool and retrieval spans.
Values are redacted as those for MLflow are.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from graph_agent.redaction import redact
from graph_agent.tracing.attributes import identity_of, name_of, tags_of, written_together
from graph_agent.tracing.payloads import CHAT_TOOLS, CHAT_USAGE, MODEL, PROVIDER
from graph_agent.tracing.records import Kind, RunRecord, SpanRecord
from graph_agent.tracing.values import to_json

Value = str | int | Sequence[str]

OPERATIONS: Mapping[Kind, str] = {
    "AGENT": "invoke_agent",
    "CHAT_MODEL": "chat",
    "LLM": "text_completion",
    "TOOL": "execute_tool",
    "RETRIEVER": "retrieval",
}
"""The operations by the kind of a span. A node has none: its span shows only how long it took."""

OURS = "graph_agent."
"""The prefix of this project's own attributes."""


def encode_all(records: Sequence[RunRecord], resource: Mapping[str, str], *, with_content: bool) -> bytes:
    """Encode runs as one request. `resource` is what every span says about the service. `with_content` adds what
    people, models and tools said."""
    parts = []
    for record in records:
        parts.append(_encode(record, resource, with_content=with_content))
        # Releases the GIL to the event loop, which would otherwise wait for the switch interval of 5 ms.
        time.sleep(0)
    # Protobuf reads concatenated requests as one request with all of their spans.
    return b"".join(parts)


def rejected_spans(body: bytes) -> int:
    """How many spans the answer of a collector says that it has rejected. 0 for an answer in another form."""
    try:
        return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except DecodeError:
        return 0


def _encode(record: RunRecord, resource: Mapping[str, str], *, with_content: bool) -> bytes:
    of_all = ResourceSpans()
    _write(of_all.resource.attributes, resource)
    scope = of_all.scope_spans.add()
    scope.scope.name, scope.scope.version = "graph_agent", _own_version()
    with written_together(record):
        for span in record.spans:
            _add(scope.spans.add(), record, span, with_content=with_content)
    request: bytes = ExportTraceServiceRequest(resource_spans=[of_all]).SerializeToString()
    return request


def _add(target: Span, record: RunRecord, span: SpanRecord, *, with_content: bool) -> None:
    target.trace_id = bytes.fromhex(record.trace_id.removeprefix("tr-"))
    target.span_id = span.id.to_bytes(8, "big")
    if span.parent is not None:
        target.parent_span_id = span.parent.id.to_bytes(8, "big")
    attributes = dict(_attributes(record, span))
    if with_content:
        attributes |= dict(_content(span))
    target.name = _name(record, span, attributes)
    target.kind = Span.SPAN_KIND_CLIENT if span.kind in ("CHAT_MODEL", "LLM") else Span.SPAN_KIND_INTERNAL
    target.start_time_unix_nano = span.start_ns
    target.end_time_unix_nano = span.end_ns
    if span.error is not None:
        target.status.code = Status.STATUS_CODE_ERROR
        target.status.message = attributes["error.type"] = span.error
    _write(target.attributes, attributes)


def _name(record: RunRecord, span: SpanRecord, attributes: Mapping[str, Value]) -> str:
    operation = OPERATIONS.get(span.kind)
    if operation is None:
        return name_of(record, span)
    known = attributes.get("gen_ai.request.model") if span.kind in ("CHAT_MODEL", "LLM") else name_of(record, span)
    return f"{operation} {known}" if known else operation


def _attributes(record: RunRecord, span: SpanRecord) -> Iterator[tuple[str, Value]]:
    if operation := OPERATIONS.get(span.kind):
        yield "gen_ai.operation.name", operation
        if session := identity_of(record, record.session):
            yield "gen_ai.conversation.id", session
    match span.kind:
        case "AGENT":
            yield "gen_ai.agent.name", name_of(record, span)
            if user := identity_of(record, record.user):
                yield "user.id", user
            yield from ((OURS + name, value) for name, value in tags_of(record).items() if name != "graph")
        case "TOOL":
            yield "gen_ai.tool.name", name_of(record, span)
            yield "gen_ai.tool.type", "function"
        case "RETRIEVER":
            found = span.outputs
            if isinstance(found, list):
                yield f"{OURS}documents", len(found)
        case "CHAT_MODEL" | "LLM":
            yield from _of_model(span)
    yield from _usage(span.attributes.get(CHAT_USAGE))
    for name, value in span.attributes.items():
        if name.startswith(OURS) and isinstance(value, str | int):
            yield name, redact(value) if isinstance(value, str) else value


def _of_model(span: SpanRecord) -> Iterator[tuple[str, Value]]:
    if model := span.attributes.get(MODEL):
        yield "gen_ai.request.model", redact(str(model))
    if provider := span.attributes.get(PROVIDER):
        yield "gen_ai.provider.name", redact(str(provider))
    said = _answer(span)
    told = said.response_metadata if isinstance(said, AIMessage) else {}
    if isinstance(answered := told.get("model_name") or told.get("model"), str):
        yield "gen_ai.response.model", redact(answered)
    if isinstance(reason := told.get("finish_reason"), str):
        yield "gen_ai.response.finish_reasons", [redact(reason)]


def _usage(usage: Any) -> Iterator[tuple[str, int]]:
    if not isinstance(usage, Mapping):
        return
    read, written = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    counts = {
        "gen_ai.usage.input_tokens": usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": read.get("cache_read"),
        "gen_ai.usage.cache_creation.input_tokens": read.get("cache_creation"),
        "gen_ai.usage.reasoning.output_tokens": written.get("reasoning"),
    }
    yield from ((name, count) for name, count in counts.items() if isinstance(count, int))


def _content(span: SpanRecord) -> Iterator[tuple[str, str]]:
    """What was said in the step. JSON, because attributes of spans have no structure."""
    given, found = span.inputs, span.outputs
    match span.kind:
        case "AGENT" | "CHAT_MODEL":
            if isinstance(given, Mapping) and isinstance(given.get("messages"), Sequence):
                yield "gen_ai.input.messages", to_json([_message(one) for one in given["messages"]])
            if (answer := _answer(span)) is not None:
                told = answer.response_metadata if isinstance(answer, AIMessage) else {}
                reason = told.get("finish_reason") or "unknown"
                yield "gen_ai.output.messages", to_json([{**_message(answer), "finish_reason": reason}])
            if tools := span.attributes.get(CHAT_TOOLS):
                yield "gen_ai.tool.definitions", to_json(tools)
        case "TOOL":
            if given is not None:
                yield "gen_ai.tool.call.arguments", to_json(given)
            if found is not None:
                yield "gen_ai.tool.call.result", to_json(found)
        case "RETRIEVER":
            if isinstance(given, Mapping) and isinstance(given.get("query"), str):
                yield "gen_ai.retrieval.query.text", redact(given["query"])
            if isinstance(found, list):
                yield "gen_ai.retrieval.documents", to_json([_document(one) for one in found])


def _answer(span: SpanRecord) -> Any:
    """The message of the first choice: an object of LangChain, a mapping in the form of chat completions, or `None`."""
    choices = span.outputs.get("choices") if isinstance(span.outputs, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first.get("message") if isinstance(first, Mapping) else None


ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


def _message(message: Any) -> dict[str, Any]:
    """A message as the conventions have it: a role, and parts."""
    if isinstance(message, ToolMessage):
        answered = {"type": "tool_call_response", "id": message.tool_call_id, "response": message.content}
        return {"role": "tool", "parts": [answered]}
    if isinstance(message, BaseMessage):
        role, content = ROLES.get(message.type, message.type), message.content
        calls = message.tool_calls if isinstance(message, AIMessage) else []
    else:
        fields = message if isinstance(message, Mapping) else {}
        role, content, calls = str(fields.get("role") or "user"), fields.get("content") or "", []
    parts = list(_parts(content))
    parts += [{"type": "tool_call", "id": one["id"], "name": one["name"], "arguments": one["args"]} for one in calls]
    return {"role": role, "parts": parts}


def _parts(content: Any) -> Iterator[dict[str, Any]]:
    for one in [content] if isinstance(content, str) else content if isinstance(content, list) else []:
        if isinstance(one, str):
            if one:
                yield {"type": "text", "content": one}
        elif isinstance(one, Mapping):
            text = one.get("text")
            yield {"type": "text", "content": text} if isinstance(text, str) else {**one, "type": str(one.get("type"))}


def _document(document: Any) -> Any:
    if not isinstance(document, Document):
        return document
    known = {"id": document.id or document.metadata.get("chunk_id"), "score": document.metadata.get("score")}
    return {**{name: value for name, value in known.items() if value is not None}, "content": document.page_content}


def _write(target: Any, values: Mapping[str, Value]) -> None:
    for name, value in values.items():
        attribute = KeyValue(key=name)
        if isinstance(value, str):
            attribute.value.string_value = value
        elif isinstance(value, int):
            attribute.value.int_value = value
        else:
            for one in value:
                attribute.value.array_value.values.add().string_value = one
        target.append(attribute)


@lru_cache(maxsize=1)
def _own_version() -> str:
    return version("graph-agent")

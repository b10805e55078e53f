"""The JSON schemas of what the service sends: items, events and response objects, as their builders make them.

The objects of this project are closed: a field that a schema does not name is not sent. The tests compare the schemas
with recorded and with live streams.

A schema with a `title` becomes a component of the description of the API.
"""

from collections.abc import Mapping
from typing import Any

from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import DOCUMENTS, ITEMS_DISCARDED, NODE
from graph_agent.protocol.field_checks import Schema, or_null
from graph_agent.protocol.request_fields import REPEATED, RUN

STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SECONDS: Schema = {"type": "integer", "description": "Seconds since 1970."}
OPEN: Schema = {"type": "object"}
TEXT_OR_NULL = or_null(STRING)
STRINGS: Schema = {"type": "object", "additionalProperties": STRING}

_NOTHING: Mapping[str, Schema] = {}


def closed(
    title: str | None,
    required: Mapping[str, Schema],
    optional: Mapping[str, Schema] = _NOTHING,
    *,
    says: str | None = None,
) -> Schema:
    """The schema of an object that has these fields and no others."""
    schema: dict[str, Any] = {} if title is None else {"title": title}
    if says is not None:
        schema["description"] = says
    schema |= {"type": "object", "properties": {**required, **optional}, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


def array_of(schema: Schema) -> Schema:
    """The schema of an array."""
    return {"type": "array", "items": schema}


def any_of(title: str, *schemas: Schema, says: str) -> Schema:
    """The schema of what is one of these."""
    return {"title": title, "description": says, "anyOf": list(schemas)}


def const(value: str) -> Schema:
    """The schema of one string."""
    return {"type": "string", "const": value}


def enum(*values: str) -> Schema:
    """The schema of a closed set of strings."""
    return {"type": "string", "enum": list(values)}


# Parts and items

_CITATION = closed(
    "UrlCitation",
    {"type": const("url_citation"), "url": STRING, "title": STRING, "start_index": COUNT, "end_index": COUNT},
    says="A source of the text between two places, in characters.",
)
_TEXT = closed(
    "OutputText",
    {"type": const("output_text"), "text": STRING, "annotations": array_of(_CITATION), "logprobs": array_of(OPEN)},
)
_REFUSAL = closed("Refusal", {"type": const("refusal"), "refusal": STRING}, says="The model declines.")
_PART = any_of("OutputPart", _TEXT, _REFUSAL, says="A part of an assistant's message.")
_SUMMARY = closed("SummaryText", {"type": const("summary_text"), "text": STRING})
_STATUS = enum("in_progress", "completed", "incomplete")

_MESSAGE = closed(
    "OutputMessage",
    {
        "type": const("message"),
        "id": STRING,
        "status": _STATUS,
        "role": const("assistant"),
        "content": array_of(_PART),
    },
    {"phase": enum("commentary", "final_answer")},
    says="What a model says. At most one message of a response is the final answer.",
)
_CALL = closed(
    "OutputFunctionCall",
    {
        "type": const("function_call"),
        "id": STRING,
        "call_id": STRING,
        "name": STRING,
        "arguments": STRING,
        "status": _STATUS,
    },
    {"namespace": STRING},
    says="A tool call. Its result follows if the service ran it.",
)
_CUSTOM_CALL = closed(
    "OutputCustomToolCall",
    {
        "type": const("custom_tool_call"),
        "id": STRING,
        "call_id": STRING,
        "name": STRING,
        "input": STRING,
        "status": _STATUS,
    },
    {"namespace": STRING},
    says="A call of a tool of the client that takes one string.",
)
_RESULT = closed(
    "OutputFunctionCallOutput",
    {
        "type": const("function_call_output"),
        "id": STRING,
        "call_id": STRING,
        "output": STRING,
        "status": const("completed"),
    },
    says="The result of a tool call.",
)
_SERVED_CALL = closed(
    "OutputMcpCall",
    {
        "type": const("mcp_call"),
        "id": STRING,
        "name": STRING,
        "arguments": STRING,
        "server_label": STRING,
        "output": TEXT_OR_NULL,
        "error": TEXT_OR_NULL,
        "status": enum("in_progress", "completed", "incomplete", "failed"),
        "approval_request_id": TEXT_OR_NULL,
    },
    says="A tool call that the service ran, and its result.",
)
_LISTED_TOOL = closed(
    "ListedTool",
    {"name": STRING, "description": STRING, "input_schema": OPEN, "annotations": or_null(OPEN)},
    says="A tool of an MCP server.",
)
_TOOL_LIST = closed(
    "OutputMcpListTools",
    {"type": const("mcp_list_tools"), "id": STRING, "server_label": STRING, "tools": array_of(_LISTED_TOOL)},
    {"error": STRING},
    says="The tools of an MCP server that the client names, or why there is no list of them.",
)
_QUESTION = closed(
    "OutputMcpApprovalRequest",
    {
        "type": const("mcp_approval_request"),
        "id": STRING,
        "name": STRING,
        "arguments": STRING,
        "server_label": STRING,
        "allowed_decisions": array_of(enum("approve", "edit", "reject", "respond")),
    },
    {"input_schema": OPEN},
    says="The graph waits for the decision of a person.",
)
_REASONING = closed(
    "OutputReasoning",
    {"type": const("reasoning"), "id": STRING, "summary": array_of(_SUMMARY)},
    says="What a model thought, as far as its endpoint shows it.",
)
_COMPACTION = closed(
    "OutputCompaction",
    {"type": const("compaction"), "id": STRING, "encrypted_content": STRING},
    says="A sealed summary, in place of the part of the conversation before it.",
)
LISTED_ITEM: Schema = {
    "title": "ListedItem",
    "description": "An item of a conversation: one of a request, or one that a run has added.",
    "type": "object",
    "properties": {"type": STRING, "id": STRING, "status": TEXT_OR_NULL},
    "required": ["type", "id", "status"],
}


def output_item(dialect: Dialect) -> Schema:
    """The schema of an item of the output."""
    items = [_MESSAGE, _CALL, _CUSTOM_CALL, _RESULT, _QUESTION, _REASONING, _COMPACTION]
    if dialect.tool_items == "mcp_call":
        items += [_SERVED_CALL, _TOOL_LIST]
    return any_of(f"{_family(dialect)}OutputItem", *items, says="An item of the output of a response.")


def _family(dialect: Dialect) -> str:
    return {"databricks": "Databricks", "openai": "OpenAI"}[dialect.family]


# The response

_USAGE = closed(
    "Usage",
    {
        "input_tokens": COUNT,
        "input_tokens_details": closed(None, {"cached_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": closed(None, {"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    },
    says="The tokens of all model calls of a run.",
)


def response(dialect: Dialect) -> Schema:
    """The schema of the response object."""
    said = {name: or_null(RUN[name].check.schema) for name in REPEATED}
    openai = dialect.open_responses
    required: dict[str, Schema] = {
        "id": STRING,
        "object": const("response"),
        "created_at": SECONDS,
        "completed_at": or_null({"type": "integer"}),
        "status": enum("queued", "in_progress", "completed", "incomplete", "failed", "cancelled"),
        "background": BOOLEAN,
        "error": or_null(closed("ResponseError", {"code": STRING, "message": STRING})),
        "incomplete_details": or_null(closed("IncompleteDetails", {"reason": STRING}, {"message": STRING})),
        "model": STRING,
        "output": array_of(output_item(dialect)),
        "previous_response_id": TEXT_OR_NULL,
        "reasoning": OPEN,
        "service_tier": const("default"),
        "store": BOOLEAN,
        "tool_choice": RUN["tool_choice"].check.schema,
        "tools": RUN["tools"].check.schema,
        "metadata": STRINGS,
        **said,
        "text": OPEN,
    }
    for name in ("prompt_cache_options", "prompt_cache_retention"):
        # They have no default.
        del required[name]
    optional: dict[str, Schema] = {
        "prompt_cache_options": said["prompt_cache_options"],
        "prompt_cache_retention": said["prompt_cache_retention"],
        "usage": or_null(_USAGE) if openai else _USAGE,
        "custom_outputs": {**OPEN, "description": "What the graph puts out beside the answer."},
    }
    if openai:
        optional["conversation"] = closed(None, {"id": STRING})
    else:
        optional["databricks_output"] = closed(None, {"trace": OPEN})
    return closed(f"{_family(dialect)}Response", required, optional, says="The response of a run.")


# Compaction

_USER_MESSAGE = closed(
    "CompactedMessage",
    {
        "type": const("message"),
        "id": STRING,
        "status": const("completed"),
        "role": const("user"),
        "content": array_of(OPEN),
    },
    says="What a user said, as it was sent.",
)
COMPACTED = closed(
    "CompactedResponse",
    {
        "id": STRING,
        "object": const("response.compaction"),
        "created_at": SECONDS,
        "output": array_of(any_of("CompactedItem", _USER_MESSAGE, _COMPACTION, says="An item of a compacted history.")),
        "usage": _USAGE,
    },
    says="A compacted history, to be sent as `input`.",
)
TOKEN_COUNT = closed(
    "TokenCount", {"object": const("response.input_tokens"), "input_tokens": COUNT}, says="The size of a conversation."
)

# Events

_NODE = closed(
    "NodeStep",
    {
        "id": STRING,
        "name": STRING,
        "path": array_of(STRING),
        "status": enum("in_progress", "completed", "failed", "interrupted"),
        "started_at": NUMBER,
        "seconds": or_null(NUMBER),
        "output_index": COUNT,
    },
    says="A node of the graph that runs or has run.",
)
_DOCUMENT = closed(
    "FoundDocument",
    {
        "number": or_null({"type": "integer"}),
        "id": STRING,
        "title": STRING,
        "url": TEXT_OR_NULL,
        "score": or_null(NUMBER),
        "text": STRING,
    },
    says="A passage that a search has found.",
)
_AT_ITEM: Mapping[str, Schema] = {"item_id": STRING, "output_index": COUNT}
_AT_PART: Mapping[str, Schema] = {**_AT_ITEM, "content_index": COUNT}
_AT_SUMMARY: Mapping[str, Schema] = {**_AT_ITEM, "summary_index": COUNT}
_LOGPROBS = array_of(OPEN)

_EVENTS: Mapping[str, Mapping[str, Schema]] = {
    "response.content_part.added": {**_AT_PART, "part": _PART},
    "response.content_part.done": {**_AT_PART, "part": _PART},
    "response.output_text.delta": {**_AT_PART, "delta": STRING, "logprobs": _LOGPROBS},
    "response.output_text.annotation.added": {**_AT_PART, "annotation_index": COUNT, "annotation": _CITATION},
    "response.output_text.done": {**_AT_PART, "text": STRING, "logprobs": _LOGPROBS},
    "response.refusal.delta": {**_AT_PART, "delta": STRING},
    "response.refusal.done": {**_AT_PART, "refusal": STRING},
    "response.function_call_arguments.delta": {**_AT_ITEM, "delta": STRING},
    "response.function_call_arguments.done": {**_AT_ITEM, "arguments": STRING, "name": STRING},
    "response.custom_tool_call_input.delta": {**_AT_ITEM, "delta": STRING},
    "response.custom_tool_call_input.done": {**_AT_ITEM, "input": STRING},
    "response.reasoning_summary_part.added": {**_AT_SUMMARY, "part": _SUMMARY},
    "response.reasoning_summary_part.done": {**_AT_SUMMARY, "part": _SUMMARY},
    "response.reasoning_summary_text.delta": {**_AT_SUMMARY, "delta": STRING},
    "response.reasoning_summary_text.done": {**_AT_SUMMARY, "text": STRING},
    ITEMS_DISCARDED: {"output_indexes": array_of(COUNT), "item_ids": array_of(STRING)},
    NODE: {"node": _NODE},
    DOCUMENTS: {
        "node_id": TEXT_OR_NULL,
        "call_id": TEXT_OR_NULL,
        "query": STRING,
        "documents": array_of(_DOCUMENT),
    },
}
_OF_SERVED_CALLS: Mapping[str, Mapping[str, Schema]] = {
    "response.mcp_call_arguments.delta": {**_AT_ITEM, "delta": STRING},
    "response.mcp_call_arguments.done": {**_AT_ITEM, "arguments": STRING},
    "response.mcp_call.in_progress": _AT_ITEM,
    "response.mcp_call.completed": _AT_ITEM,
    "response.mcp_call.failed": _AT_ITEM,
    "response.mcp_list_tools.in_progress": _AT_ITEM,
    "response.mcp_list_tools.completed": _AT_ITEM,
    "response.mcp_list_tools.failed": _AT_ITEM,
}
_LIFE = ("created", "queued", "in_progress", "completed", "incomplete", "failed")

ERROR_FIELDS: Mapping[str, Schema] = {"message": STRING, "type": STRING, "param": TEXT_OR_NULL, "code": STRING}
"""The fields of an error, as answers and streams have them."""

_ERROR_FRAME = closed(
    "ErrorFrame",
    {
        "type": const("error"),
        "sequence_number": COUNT,
        "error": STRING,
        "message": STRING,
        "code": STRING,
        "databricks_output": closed(None, {"error": closed(None, {"error_code": STRING, "message": STRING})}),
    },
    says="The end of a failed stream of `/invocations`.",
)
_TRACE_ID = closed("TraceIdFrame", {"trace_id": STRING}, says="The trace of the run, for who asked for its id.")
_TRACE = closed("TraceFrame", {"databricks_output": closed(None, {"trace": OPEN})}, says="The whole trace of the run.")


def event(dialect: Dialect) -> Schema:
    """The schema of the JSON in a frame of a stream: an event of the run, or a frame that follows the last one."""
    family = _family(dialect)
    whole, item = response(dialect), output_item(dialect)
    kinds = [_event(f"response.{one}", {"response": whole}, family=family) for one in _LIFE]
    kinds += [
        _event(f"response.output_item.{one}", {"output_index": COUNT, "item": item}, family=family)
        for one in ("added", "done")
    ]
    kinds += [_event(kind, fields) for kind, fields in _EVENTS.items()]
    if dialect.tool_items == "mcp_call":
        kinds += [_event(kind, fields) for kind, fields in _OF_SERVED_CALLS.items()]
    if dialect.failure == "error_frame":
        name = "Invocations"
        kinds.append(_ERROR_FRAME)
    else:
        name = family
        fields = {"code": STRING, "message": STRING, "param": TEXT_OR_NULL, "error": closed(None, ERROR_FIELDS)}
        kinds.append(_event("error", fields))
    kinds.append(_TRACE_ID)
    if not dialect.open_responses:
        kinds.append(_TRACE)
    return any_of(f"{name}Event", *kinds, says="The JSON of one frame of a stream. After the last one comes `[DONE]`.")


def _event(kind: str, fields: Mapping[str, Schema], *, family: str = "") -> Schema:
    words = kind.removeprefix("response.").replace(":", ".").replace("_", ".").split(".")
    title = f"{family}{''.join(word.capitalize() for word in words)}Event"
    return closed(title, {"type": const(kind), "sequence_number": COUNT, **fields})

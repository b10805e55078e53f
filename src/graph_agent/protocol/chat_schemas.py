"""The JSON schemas of what Chat Completions sends. As in `wire_schemas`, its objects are closed."""

from graph_agent.protocol.field_checks import Schema, or_null
from graph_agent.protocol.wire_schemas import (
    COUNT,
    ERROR_FIELDS,
    OPEN,
    SECONDS,
    STRING,
    STRINGS,
    TEXT_OR_NULL,
    any_of,
    array_of,
    closed,
    const,
    enum,
)

_CITATION = closed(
    "ChatUrlCitation",
    {
        "type": const("url_citation"),
        "url_citation": closed(None, {"url": STRING, "title": STRING, "start_index": COUNT, "end_index": COUNT}),
    },
    says="A source of the content between two places, in characters.",
)
_CALLED = {
    "function": closed(None, {"name": STRING, "arguments": STRING}),
    "custom": closed(None, {"name": STRING, "input": STRING}),
}
_CALL = any_of(
    "ChatToolCall",
    *(closed(None, {"id": STRING, "type": const(kind), kind: inner}) for kind, inner in _CALLED.items()),
    says="A call of a tool of the client.",
)
_CALL_IN_CHUNK = any_of(
    "ChatToolCallInChunk",
    *(
        closed(None, {"index": COUNT, "id": STRING, "type": const(kind), kind: inner})
        for kind, inner in _CALLED.items()
    ),
    says="A call of a tool of the client. It is whole.",
)
_LOGPROBS = or_null(
    closed("ChatLogprobs", {"content": array_of(OPEN), "refusal": {"type": "null"}}, says="Probabilities of tokens.")
)
_USAGE = closed(
    "ChatUsage",
    {
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "total_tokens": COUNT,
        "prompt_tokens_details": closed(None, {"cached_tokens": COUNT}),
        "completion_tokens_details": closed(None, {"reasoning_tokens": COUNT}),
    },
    says="The tokens of all model calls of a run.",
)
_MESSAGE = closed(
    "ChatMessage",
    {
        "role": const("assistant"),
        "content": TEXT_OR_NULL,
        "refusal": TEXT_OR_NULL,
        "annotations": array_of(_CITATION),
    },
    {"tool_calls": array_of(_CALL), "reasoning_content": STRING},
)
_DELTA = closed(
    "ChatDelta",
    {},
    {
        "role": const("assistant"),
        "content": STRING,
        "refusal": STRING,
        "reasoning_content": STRING,
        "tool_calls": array_of(_CALL_IN_CHUNK),
        "annotations": array_of(_CITATION),
    },
)
_REASON = enum("stop", "length", "tool_calls", "content_filter")
_OUTPUTS = {**OPEN, "description": "What the graph puts out beside the answer, and warnings."}
_HEAD = {"id": STRING, "created": SECONDS, "model": STRING}

COMPLETION = closed(
    "ChatCompletion",
    {
        **_HEAD,
        "object": const("chat.completion"),
        "choices": array_of(
            closed(
                None,
                {"index": COUNT, "message": _MESSAGE, "finish_reason": _REASON, "logprobs": _LOGPROBS},
            )
        ),
        "usage": _USAGE,
    },
    {"custom_outputs": _OUTPUTS, "metadata": STRINGS},
)
"""The whole answer."""

_CHUNK = closed(
    "ChatCompletionChunk",
    {
        **_HEAD,
        "object": const("chat.completion.chunk"),
        "choices": array_of(
            closed(
                None,
                {"index": COUNT, "delta": _DELTA, "finish_reason": or_null(_REASON), "logprobs": _LOGPROBS},
            )
        ),
    },
    {"usage": or_null(_USAGE), "custom_outputs": _OUTPUTS},
)

FRAME: Schema = any_of(
    "ChatFrame",
    _CHUNK,
    closed("ChatErrorFrame", {"error": closed(None, ERROR_FIELDS)}, says="The end of a failed stream."),
    closed("TraceIdFrame", {"trace_id": STRING}, says="The trace of the run, for who asked for its id."),
    says="The JSON of one frame of a stream. After the last one comes `[DONE]`.",
)
"""A frame of a stream."""

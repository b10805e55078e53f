"""What each field of a Chat Completions request must be.

Source: OpenAI API reference, "Create chat completion". `chat_requests` says what the fields mean.
"""

from collections.abc import Mapping
from typing import Any

from graph_agent.errors import AgentError, InvalidRequest, UnsupportedField
from graph_agent.protocol.field_checks import (
    Check,
    Field,
    Fields,
    Shape,
    a_boolean,
    a_count,
    a_name,
    a_number,
    a_number_from,
    a_string,
    a_whole_number,
    accepts,
    an_array,
    an_object,
    anything,
    array_of,
    at,
    both,
    check_fields,
    one_of,
    shown,
    string_or,
    wrong,
)
from graph_agent.protocol.item_shapes import PARTS, a_content
from graph_agent.protocol.request_fields import EFFORTS, MAX_ITEMS, a_metadata, meant_field
from graph_agent.protocol.unreadable_content import CONTENT_FIELDS, by_reference

_FILE = both(
    Shape(
        optional={"file_data": a_name, "file_id": a_name, "filename": a_string}, alternatives=("file_data", "file_id")
    ),
    by_reference("file_id", unless="file_data", instead="send the file as `file_data`"),
)

HEARD: Mapping[str, Check] = {
    "text": PARTS["text"],
    "image_url": PARTS["image_url"],
    "file": Shape(required={"file": _FILE}),
    "input_audio": PARTS["input_audio"],
}
"""The parts of a user's message."""

_TEXTS: Mapping[str, Check] = {"text": PARTS["text"]}
_SPOKEN: Mapping[str, Check] = {"text": PARTS["text"], "refusal": PARTS["refusal"]}

READ: Mapping[str, frozenset[str]] = {
    "system": frozenset({"content"}),
    "developer": frozenset({"content"}),
    "user": frozenset({"content"}),
    "assistant": frozenset({"content", "refusal", "tool_calls"}),
    "tool": frozenset({"content"}),
}
"""Role -> the fields of its messages that have content which a model reads."""

_CALL = Shape(
    required={"id": a_name},
    optional={
        "type": one_of("function", "custom"),
        "function": Shape(required={"name": a_name, "arguments": a_string}),
        "custom": Shape(required={"name": a_name, "input": a_string}),
    },
    alternatives=("function", "custom"),
)


@accepts(_CALL.schema)
def _a_call(value: Any, path: str) -> None:
    _CALL(value, path)
    # Some clients leave the type out.
    kind = value.get("type") or "function"
    if value.get(kind) is None:
        raise InvalidRequest(f"`{at(path, kind)}` is missing.", param=at(path, kind))


_NAME = {"name": a_string}
MESSAGES: Mapping[str, Shape] = {
    "system": Shape(required={"content": a_content(_TEXTS)}, optional=_NAME),
    "developer": Shape(required={"content": a_content(_TEXTS)}, optional=_NAME),
    "user": Shape(required={"content": a_content(HEARD)}, optional=_NAME),
    "assistant": Shape(
        optional={
            **_NAME,
            "content": a_content(_SPOKEN),
            "refusal": a_string,
            "tool_calls": array_of(_a_call),
            "reasoning_content": a_string,
        }
    ),
    "tool": Shape(required={"content": a_content(HEARD), "tool_call_id": a_name}),
}
_ROLE = Shape(required={"role": one_of(*MESSAGES)})


def _message_schema(role: str, shape: Shape) -> Mapping[str, Any]:
    schema = shape.schema
    return {
        "title": f"{role.capitalize()}ChatMessage",
        **schema,
        "properties": {"role": {"type": "string", "const": role}, **schema["properties"]},
        "required": ["role", *schema.get("required", ())],
    }


@accepts({"anyOf": [_message_schema(role, shape) for role, shape in MESSAGES.items()]})
def _a_message(value: Any, path: str) -> None:
    an_object(value, path)
    if value.get("role") == "function":
        raise UnsupportedField(
            f"`{at(path, 'role')}` is function, which OpenAI has replaced: send the result with the role tool and its "
            "`tool_call_id`.",
            param=at(path, "role"),
        )
    _ROLE(value, path)
    role = value["role"]
    MESSAGES[role](value, path)
    for name in CONTENT_FIELDS:
        if value.get(name) and name not in READ[role]:
            raise UnsupportedField(
                f"`{at(path, name)}` of a message of the role {role} would not reach a model: leave it out.",
                param=at(path, name),
            )


@accepts({"type": "array", "items": _a_message.schema, "minItems": 1, "maxItems": MAX_ITEMS})
def _messages(value: Any, path: str) -> None:
    an_array(value, path)
    if not value:
        raise wrong(path, "an array that is not empty", "an empty array")
    if len(value) > MAX_ITEMS:
        raise wrong(path, f"an array of at most {MAX_ITEMS} messages", f"{len(value)}")
    for index, message in enumerate(value):
        _a_message(message, at(path, index))


_GRAMMAR = Shape(required={"syntax": a_string, "definition": a_string})
_FORMAT = Shape(required={"type": one_of("text", "grammar")}, optional={"grammar": _GRAMMAR})
_TOOLS: Mapping[str, Check] = {
    "function": Shape(
        required={"name": a_name}, optional={"description": a_string, "parameters": an_object, "strict": a_boolean}
    ),
    "custom": Shape(required={"name": a_name}, optional={"description": a_string, "format": _FORMAT}),
}


@accepts(
    {
        "anyOf": [
            {
                "type": "object",
                "properties": {"type": {"type": "string", "const": kind}, kind: check.schema},
                "required": ["type", kind],
            }
            for kind, check in _TOOLS.items()
        ]
    }
)
def _a_tool(value: Any, path: str) -> None:
    Shape(required={"type": one_of(*_TOOLS)})(value, path)
    kind = value["type"]
    Shape(required={kind: _TOOLS[kind]})(value, path)


_NAMED = Shape(
    required={"type": one_of("function", "custom", "allowed_tools")},
    optional={
        "function": Shape(required={"name": a_name}),
        "custom": Shape(required={"name": a_name}),
        "allowed_tools": Shape(required={"mode": one_of("auto", "required"), "tools": array_of(an_object)}),
    },
)


@accepts({"anyOf": [{"type": "string", "enum": ["auto", "none", "required"]}, _NAMED.schema]})
def _tool_choice(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        one_of("auto", "none", "required")(value, path)
        return
    _NAMED(value, path)
    kind = value["type"]
    if value.get(kind) is None:
        raise InvalidRequest(f"`{at(path, kind)}` is missing.", param=at(path, kind))
    if kind == "allowed_tools":
        for index, one in enumerate(value[kind]["tools"]):
            inner = at(at(at(path, kind), "tools"), index)
            Shape(required={"type": one_of("function", "custom")})(one, inner)
            Shape(required={one["type"]: Shape(required={"name": a_name})})(one, inner)


_SCHEMA = Shape(required={"name": a_name, "schema": an_object}, optional={"description": a_string, "strict": a_boolean})
_RESPONSE_FORMAT = Shape(
    required={"type": one_of("text", "json_object", "json_schema")}, optional={"json_schema": _SCHEMA}
)


@accepts(_RESPONSE_FORMAT.schema)
def _response_format(value: Any, path: str) -> None:
    _RESPONSE_FORMAT(value, path)
    if value["type"] == "json_schema" and value.get("json_schema") is None:
        raise InvalidRequest(f"`{at(path, 'json_schema')}` is missing.", param=at(path, "json_schema"))


_STOP = string_or(array_of(a_string), "a string or an array of strings")
_OF_MODELS = "It reaches the models of the graph, where it sets nothing itself."
_NO_EFFECT = "It has no effect, because the graph decides how its models work."
_WARNED = f"{_NO_EFFECT} A warning says so."
_ONLY_HELPS = "It has no effect, because it only helps a provider that has it."

CHAT: Fields = {
    "messages": Field(_messages, "The conversation so far.", required="send an array of messages"),
    "model": Field(a_string, "The name of a graph. `agent`, `default` and `apps/…` mean the default graph."),
    "stream": Field(a_boolean, "Whether to answer with server-sent events instead of one JSON object."),
    "stream_options": Field(
        Shape(optional={"include_usage": a_boolean, "include_obfuscation": a_boolean}),
        "`include_usage` adds a last chunk with the tokens. Chunks are not padded.",
    ),
    "max_completion_tokens": Field(a_count, "The most tokens that the models of this run may write."),
    "max_tokens": Field(a_count, "The older name of `max_completion_tokens`. The smaller one counts."),
    "temperature": Field(a_number_from(0, 2), _OF_MODELS),
    "top_p": Field(a_number_from(0, 1), _OF_MODELS),
    "reasoning_effort": Field(
        one_of(*EFFORTS), f"How much the models reason. {_OF_MODELS} The answer then has `reasoning_content`."
    ),
    "verbosity": Field(one_of("low", "medium", "high"), _OF_MODELS),
    "tools": Field(array_of(_a_tool), "Tools that the client runs."),
    "tool_choice": Field(_tool_choice, "How the model may choose among `tools` in its first step."),
    "parallel_tool_calls": Field(a_boolean, "Whether the client takes several calls of `tools` in one turn."),
    "response_format": Field(_response_format, "The form of the answer: `text`, `json_object`, or `json_schema`."),
    "metadata": Field(a_metadata, "At most 16 strings by name, for the trace."),
    "custom_inputs": Field(
        Shape(optional={"thread_id": a_string, "session_id": a_string}),
        "An extension: input for the context of the graph. `thread_id` and `session_id` name the conversation.",
    ),
    "n": Field(a_count, "How many answers. Only 1 is served."),
    "store": Field(a_boolean, "It has no effect, because chat completions are not stored. A warning says so."),
    "modalities": Field(array_of(a_string), "Only `text` is served."),
    "audio": Field(anything, "Refused: answers are text."),
    "functions": Field(anything, "Refused: send `tools`."),
    "function_call": Field(anything, "Refused: send `tool_choice`."),
    "moderation": Field(anything, "Refused: this service does not moderate."),
    "web_search_options": Field(an_object, "It has no effect: this service does not host a search. A warning says so."),
    "frequency_penalty": Field(a_number, _WARNED),
    "presence_penalty": Field(a_number, _WARNED),
    "logit_bias": Field(an_object, _WARNED),
    "seed": Field(a_number, _WARNED),
    "stop": Field(_STOP, _WARNED),
    "logprobs": Field(a_boolean, "Whether the answer has the probabilities of its tokens."),
    "top_logprobs": Field(
        a_whole_number(0, 20), "How many of the likeliest tokens are told with each token. It needs `logprobs`."
    ),
    "prediction": Field(an_object, _ONLY_HELPS),
    "prompt_cache_key": Field(a_string, _ONLY_HELPS),
    "prompt_cache_options": Field(an_object, _ONLY_HELPS),
    "prompt_cache_retention": Field(a_string, _ONLY_HELPS),
    "safety_identifier": Field(a_string, _ONLY_HELPS),
    "service_tier": Field(a_string, "It has no effect: every request is served alike."),
    "user": Field(a_string, _ONLY_HELPS),
}
"""The body of a request for a chat completion."""

_MEANT: Mapping[str, str] = {
    "input": "messages",
    "prompt": "messages",
    "max_output_tokens": "max_completion_tokens",
    "reasoning": "reasoning_effort",
    "text": "response_format",
}
"""Names of the Responses API and of older ones -> the name in this API."""

_OF_RESPONSES = frozenset(
    ("background", "context", "conversation", "include", "instructions", "max_tool_calls", "previous_response_id")
)
"""Fields of the Responses API for which this API has none."""


NAMES: Mapping[str, str] = {
    "include": "logprobs",
    "input": "messages",
    "max_output_tokens": "max_completion_tokens",
    "reasoning.effort": "reasoning_effort",
    "text.format": "response_format",
    "text.format.schema": "response_format.json_schema.schema",
    "text.verbosity": "verbosity",
}
"""Names of the Responses API -> those of this API."""


def in_chat_words(text: str) -> str:
    """A sentence about a request, with the names of this API."""
    for name, ours in NAMES.items():
        text = text.replace(f"`{name}`", f"`{ours}`")
    return text


def in_chat_terms(error: AgentError) -> AgentError:
    """The same error, with the names of this API."""
    # Not `copy`, which calls the constructor of an error with its message alone. Some need more.
    told = type(error).__new__(type(error), *error.args)
    vars(told).update(vars(error))
    told.message = in_chat_words(error.message)
    told.param = error.param and NAMES.get(error.param, error.param)
    return told


def check_chat_fields(given: Mapping[str, Any]) -> None:
    """Check that `given` has `messages`, no unknown field, and none of the wrong kind.

    Raises:
        InvalidRequest: it does not; `param` is the path of the field.
    """
    check_fields(given, CHAT, unknown=_unknown_field)


def _unknown_field(name: str, _: Fields) -> InvalidRequest:
    meant = meant_field(name, CHAT, _MEANT)
    hint = f"Did you mean `{meant}`?" if meant else "Put input for the graph into `custom_inputs`."
    if name in _OF_RESPONSES:
        hint = "It belongs to the Responses API: POST to /v1/responses."
    return InvalidRequest(f"`{shown(name)}` is not a field of Chat Completions. {hint}", param=shown(name))

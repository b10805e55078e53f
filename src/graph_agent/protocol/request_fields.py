"""What each field of a request must be. Every field has a check, so that an unknown one is refused by name.

If a client misspells a field or uses the name of another API, the error says the right name.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.asked_options import INCLUDED, LOGPROBS
from graph_agent.protocol.compaction import a_context_management
from graph_agent.protocol.field_checks import (
    NOT_BLANK,
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
    an_object,
    anything,
    array_of,
    at,
    check_fields,
    kind_of,
    object_of,
    one_of,
    shown,
    string_or,
    wrong,
)
from graph_agent.protocol.item_shapes import item_schema
from graph_agent.protocol.steps import STEPS

MISSPELLED = 0.82
"""How alike a field and a misspelling of it are: `top_k` is not a misspelling of `top_p`, nor `stop` of `store`."""

MAX_ITEMS = 10_000
"""Items in `input`: a thousand turns of ten. LangGraph visits all of them in every step, on the event loop."""

MAX_METADATA = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512


@accepts(
    {
        "type": "object",
        "maxProperties": MAX_METADATA,
        "propertyNames": {"maxLength": MAX_METADATA_KEY},
        "additionalProperties": {"type": "string", "maxLength": MAX_METADATA_VALUE},
    }
)
def a_metadata(value: Any, path: str) -> None:
    """At most 16 short strings by name."""
    an_object(value, path)
    if len(value) > MAX_METADATA:
        raise wrong(path, f"an object of at most {MAX_METADATA} entries", f"{len(value)} entries")
    for key, entry in value.items():
        if len(key) > MAX_METADATA_KEY:
            raise wrong(path, f"an object with keys of at most {MAX_METADATA_KEY} characters", f"one of {len(key)}")
        _metadata_value(entry, at(path, key))


def _metadata_value(value: Any, path: str) -> None:
    a_string(value, path)
    if len(value) > MAX_METADATA_VALUE:
        raise wrong(path, f"a string of at most {MAX_METADATA_VALUE} characters", f"{len(value)} characters")


@accepts(
    {
        "anyOf": [
            {"type": "string", "pattern": NOT_BLANK},
            {"type": "array", "items": item_schema(references=True), "minItems": 1, "maxItems": MAX_ITEMS},
        ]
    }
)
def _input(value: Any, path: str) -> None:
    if not isinstance(value, str | list):
        raise wrong(path, "a string or an array of items", kind_of(value))
    if not value or (isinstance(value, str) and value.isspace()):
        raise wrong(path, "a string or an array that is not empty", kind_of(value) if not value else "only white space")


_AN_OBJECT_OR_STRING = string_or(an_object, "a string or an object")

_OF_MODELS = "For the models of the graph, where it sets nothing itself."

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
"""How much a model may reason, in OpenAI's words."""

SERVICE_TIERS = ("auto", "default", "flex", "fast", "priority", "scale")
"""The tiers of OpenAI's service. Here all of them are one."""

_NO_EFFECT = "It has no effect, because the graph decides how its models work."

RUN: Fields = {
    "input": Field(
        _input, "What is new, or the whole conversation so far.", required="send a string or an array of items"
    ),
    "instructions": Field(a_string, "A system message before the conversation, for this run only."),
    "model": Field(a_string, "The name of a graph. `agent`, `default` and `apps/…` mean the default graph."),
    "stream": Field(a_boolean, "Whether to answer with server-sent events instead of one JSON object."),
    "metadata": Field(
        a_metadata, "At most 16 strings by name, which the response repeats. `webhook` names a target of the operator."
    ),
    "max_output_tokens": Field(a_count, "The most tokens that the models of this run may write."),
    "max_tool_calls": Field(a_count, "The most calls of tools in this run."),
    "client_request_id": Field(a_string, "The caller's own name for this request."),
    "custom_inputs": Field(
        Shape(optional={"thread_id": a_string, "session_id": a_string}),
        "Input for the context of the graph. `thread_id` and `session_id` name the conversation.",
    ),
    "context": Field(
        Shape(optional={"conversation_id": a_string, "user_id": a_string}),
        "`conversation_id` names the conversation. `user_id` is not trusted, and has no effect.",
    ),
    # Unsupported, or supported for some values only; see `unsupported`.
    "background": Field(a_boolean, "Whether to queue the run and answer at once."),
    "previous_response_id": Field(a_name, "The stored response that this one follows."),
    "conversation": Field(
        _AN_OBJECT_OR_STRING,
        'The stored conversation that goes on: its id, or an object with `id`, and maybe `"from": "beginning"`.',
    ),
    "prompt": Field(an_object, "A stored prompt."),
    "reasoning": Field(
        Shape(optional={"effort": one_of(*EFFORTS), "summary": one_of("auto", "concise", "detailed")}),
        "How much the models reason, where the graph sets nothing itself: `effort`.",
    ),
    "text": Field(
        Shape(optional={"format": Shape(required={"type": a_name}), "verbosity": one_of("low", "medium", "high")}),
        "The form of the answer, and how long it is: `verbosity`.",
    ),
    "tool_choice": Field(
        _AN_OBJECT_OR_STRING,
        "How the model may choose among `tools` in its first step: `auto`, `none`, `required`, a tool by its type and "
        "name, or `allowed_tools`.",
    ),
    "tools": Field(
        array_of(an_object),
        "Tools that the client runs, of type `function`, `custom` or `namespace`, and MCP servers, of type `mcp`. "
        "Hosted tools are left out with a warning. An `mcp` tool names a server that the operator has listed, or has "
        "the name of a graph as `server_label`.",
    ),
    "truncation": Field(
        one_of("auto", "disabled"),
        "`disabled`: a conversation that is too long for a model fails. `auto`: its oldest turns are left out.",
    ),
    "context_management": Field(
        a_context_management,
        "With an entry of type `compaction`, a history of more than `compact_threshold` tokens is summarized first.",
    ),
    "moderation": Field(anything, "How to moderate."),
    "databricks_options": Field(an_object, "With `return_trace`, the answer brings the trace of the run."),
    # No effect here: the graph decides, or nothing depends on them.
    "client_metadata": Field(
        object_of(a_string), "What a client says about itself, such as its version. It has no effect."
    ),
    "frequency_penalty": Field(a_number, _NO_EFFECT),
    "include": Field(
        array_of(one_of(STEPS, LOGPROBS, *INCLUDED)),
        f"`{STEPS}` adds the nodes of the graph. `{LOGPROBS}` adds the probabilities of tokens. The "
        "other values add nothing: an answer has all there is.",
    ),
    "parallel_tool_calls": Field(a_boolean, "Whether the client takes several calls of `tools` in one turn."),
    "presence_penalty": Field(a_number, _NO_EFFECT),
    "prompt_cache_key": Field(a_string, _NO_EFFECT),
    "prompt_cache_options": Field(an_object, _NO_EFFECT),
    "prompt_cache_retention": Field(a_string, _NO_EFFECT),
    "safety_identifier": Field(a_string, _NO_EFFECT),
    "service_tier": Field(one_of(*SERVICE_TIERS), "It has no effect: every request is served alike, as `default`."),
    "store": Field(a_boolean, "Whether the response is stored. The default depends on the address."),
    "stream_options": Field(an_object, _NO_EFFECT),
    "temperature": Field(a_number_from(0, 2), _OF_MODELS),
    "top_logprobs": Field(
        a_whole_number(0, 20), "How many of the likeliest tokens are told with each token of the answer."
    ),
    "top_p": Field(a_number_from(0, 1), _OF_MODELS),
    "user": Field(a_string, _NO_EFFECT),
}
"""The body of a request that starts a run. `unsupported` says which values are refused."""

REPEATED = (
    "frequency_penalty",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "temperature",
    "text",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)
"""Fields that the response repeats. `store` and `service_tier` are not among them: there the response says what
happened, not what was asked."""

_MEANT: Mapping[str, str] = {
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "prompt_id": "prompt",
    "query": "input",
    "session_id": "custom_inputs.session_id",
    "thread_id": "custom_inputs.thread_id",
    "conversation_id": "context.conversation_id",
    "user_id": "context.user_id",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
    "verbosity": "text.verbosity",
    "functions": "tools",
    "function_call": "tool_choice",
    "context_id": "context.conversation_id",
}
"""Names that other APIs use -> the name in this API."""


def check_run_fields(given: Mapping[str, Any], *, may_be_empty: bool = False) -> None:
    """Check that `given` has an `input`, no unknown field, and none of the wrong kind. With `may_be_empty`, `input` may
    have no items.

    Raises:
        InvalidRequest: it does not; `param` is the path of the field.
    """
    fields = RUN
    if may_be_empty and given.get("input") in (None, []):
        fields = {name: field for name, field in RUN.items() if name != "input"}
        given = {name: value for name, value in given.items() if name != "input"}
    check_fields(given, fields, unknown=_unknown_field)


def meant_field(name: str, fields: Fields, elsewhere: Mapping[str, str]) -> str | None:
    """The field that an unknown `name` means: by its name in another API, else because it is nearly spelled so."""
    close = difflib.get_close_matches(name[:MAX_METADATA_KEY], fields, n=1, cutoff=MISSPELLED)
    return elsewhere.get(name) or (close[0] if close else None)


def _unknown_field(name: str, _: Fields) -> InvalidRequest:
    meant = meant_field(name, RUN, _MEANT)
    hint = f" Did you mean `{meant}`?" if meant else " Put input for the graph into `custom_inputs`."
    return InvalidRequest(f"`{shown(name)}` is not a field of this API.{hint}", param=shown(name))

"""What each field of a request must be. Every field has a check, so that an unknown one is refused by name.

If a client misspells a field or uses the name of another API, the error says the right name.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.field_checks import (
    Check,
    Shape,
    a_boolean,
    a_count,
    a_name,
    a_number,
    a_string,
    an_object,
    anything,
    array_of,
    at,
    kind_of,
    shown,
    string_or,
    wrong,
)
from graph_agent.protocol.steps import STEPS

MISSPELLED = 0.82
"""How alike a field and a misspelling of it are: `top_k` is not a misspelling of `top_p`, nor `stop` of `store`."""

OURS = "graph_agent"
"""Values of `include` that begin with it are those of this service."""

MAX_METADATA = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512


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


def _input(value: Any, path: str) -> None:
    if not isinstance(value, str | list):
        raise wrong(path, "a string or an array of items", kind_of(value))
    if not value or (isinstance(value, str) and value.isspace()):
        raise wrong(path, "a string or an array that is not empty", kind_of(value) if not value else "only white space")


def _include(value: Any, path: str) -> None:
    array_of(a_string)(value, path)
    for index, entry in enumerate(value):
        # Other values ask for what OpenAI's models have, and SDKs send them by themselves.
        if entry.startswith(OURS) and entry != STEPS:
            raise wrong(at(path, index), f"'{STEPS}', the only value that begins with '{OURS}'", "another string")


_AN_OBJECT_OR_STRING = string_or(an_object, "a string or an object")

_FIELDS: Mapping[str, Check] = {
    "input": _input,
    "instructions": a_string,
    "model": a_string,
    "stream": a_boolean,
    "metadata": a_metadata,
    "max_output_tokens": a_count,
    "max_tool_calls": a_count,
    "client_request_id": a_string,
    "custom_inputs": Shape(optional={"thread_id": a_string, "session_id": a_string}),
    "context": Shape(optional={"conversation_id": a_string, "user_id": a_string}),
    # Unsupported, or supported for some values only; see `unserved`.
    "background": a_boolean,
    "previous_response_id": a_name,
    "conversation": _AN_OBJECT_OR_STRING,
    "prompt": an_object,
    "reasoning": an_object,
    "text": Shape(optional={"format": Shape(required={"type": a_name}), "verbosity": a_string}),
    "tool_choice": _AN_OBJECT_OR_STRING,
    "tools": array_of(an_object),
    "truncation": a_string,
    "context_management": anything,
    "moderation": anything,
    "databricks_options": an_object,
    # No effect here: the graph decides, or nothing depends on them.
    "frequency_penalty": a_number,
    "include": _include,
    "parallel_tool_calls": a_boolean,
    "presence_penalty": a_number,
    "prompt_cache_key": a_string,
    "prompt_cache_options": an_object,
    "prompt_cache_retention": a_string,
    "safety_identifier": a_string,
    "service_tier": a_string,
    "store": a_boolean,
    "stream_options": an_object,
    "temperature": a_number,
    "top_logprobs": a_number,
    "top_p": a_number,
    "user": a_string,
}

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


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` for the first field that is unknown, missing or of the wrong kind."""
    for name in fields:
        if name not in _FIELDS:
            raise _unknown_field(name)
    if "input" not in fields:
        raise InvalidRequest("`input` is missing: send a string or an array of items.", param="input")
    for name, check in _FIELDS.items():
        if fields.get(name) is not None or (name == "input"):
            check(fields.get(name), name)


def _unknown_field(name: str) -> InvalidRequest:
    close = difflib.get_close_matches(name[:MAX_METADATA_KEY], _FIELDS, n=1, cutoff=MISSPELLED)
    meant = _MEANT.get(name) or (close[0] if close else None)
    hint = f" Did you mean `{meant}`?" if meant else " Put input for the graph into `custom_inputs`."
    return InvalidRequest(f"`{shown(name)}` is not a field of this API.{hint}", param=shown(name))

"""A Responses request, as sent, becomes an `Invocation`, or an error that names the field.

Nothing is ignored in silence: a field is served, or known to be harmless, or refused by name.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.messages import BaseMessage, SystemMessage

from graph_agent.errors import InvalidRequest, UnknownGraph
from graph_agent.protocol.fields import (
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
from graph_agent.protocol.json_text import NotUsable, Pulse, decode, no_pulse
from graph_agent.protocol.messages import to_messages
from graph_agent.protocol.unserved import refuse_unserved
from graph_agent.protocol.written import new_id
from graph_agent.redaction import redacting_value

__all__ = ["Invocation", "parse_request"]

DEFAULT_MODELS = ("agent", "default")
"""Names of `model` that mean the default graph, as does everything under `apps/`, Databricks' name for an app."""

MAX_PATH = 8
"""Steps of a path that an error still spells out."""

MISSPELLED = 0.82
"""How alike a field and a misspelling of it are; `top_k` is no misspelling of `top_p`, `stop` none of `store`."""

MAX_ITEMS = 10_000
"""Of `input`: a thousand turns of ten. LangGraph walks over all of them at every step, on the event loop."""

MAX_METADATA = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512

ANSWERED = ("function_call_output", "mcp_approval_response")
"""Items that, like a message of anyone but the assistant, leave the graph something to answer."""

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
    "safety_identifier",
    "service_tier",
    "temperature",
    "text",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)
"""Fields that the response says again; `store` is none of them, as nothing is stored whatever was asked for."""

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What one request asks for."""

    graph: str | None
    """The graph's name in `langgraph.json`; `None` is the default graph."""

    messages: Sequence[BaseMessage]
    """The conversation as the client knows it, `instructions` first."""

    thread: str | None
    """The conversation's id; a hint, it proves nothing."""

    mode: Literal["stream", "reply"]
    """Events as they come, or one answer at the end."""

    custom_inputs: Mapping[str, Any]
    """As sent; meant for the graph."""

    metadata: Mapping[str, str]
    """As sent, but for secrets; returned with the response."""

    max_output_tokens: int | None
    """The caller's limit, in tokens."""

    max_tool_calls: int | None
    """The caller's limit for the whole run."""

    client_request_id: str | None
    """The caller's own name for this request."""

    said: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request that its response repeats, as sent, but for secrets."""

    return_trace: bool = False
    """Whether the caller wants the run's trace with the answer, as Databricks' `databricks_options` ask for it."""

    background: bool = False
    """Answer at once and let the run go on; only where that is served."""


def parse_request(
    body: bytes,
    *,
    graphs: Sequence[str],
    fallback: str | None = None,
    background_served: bool = False,
    pulse: Pulse = no_pulse,
) -> Invocation:
    """Read the body of a request for one of `graphs`, or for `fallback` where `model` names none of them.

    It takes time that is linear in the body's length, with `pulse` called all the while. Raises `InvalidRequest`,
    `UnsupportedField` or `UnknownGraph`; `param` is the path of the field at fault.
    """
    fields = _without_secrets(_fields(body, pulse), pulse)
    _check(fields)
    refuse_unserved(fields, background_served=background_served)
    return Invocation(
        graph=_graph(fields.get("model"), graphs, fallback),
        messages=_messages(fields, pulse),
        thread=_thread(fields),
        mode="stream" if fields.get("stream") else "reply",
        custom_inputs=fields.get("custom_inputs") or {},
        metadata=fields.get("metadata") or {},
        max_output_tokens=fields.get("max_output_tokens"),
        max_tool_calls=fields.get("max_tool_calls"),
        client_request_id=fields.get("client_request_id"),
        said={name: fields[name] for name in REPEATED if fields.get(name) is not None},
        return_trace=(fields.get("databricks_options") or {}).get("return_trace") is True,
        background=bool(fields.get("background")),
    )


def _without_secrets(fields: Fields, pulse: Pulse) -> Fields:
    """What a caller pasted is neither kept nor shown to a model. `custom_inputs` alone goes to the graph as sent: it
    enters no state, and a graph may ask for a key there."""
    custom = {name: value for name, value in fields.items() if name == "custom_inputs"}
    others = {name: value for name, value in fields.items() if name not in custom}
    return {name: _redacted(value, pulse) for name, value in others.items()} | custom


def _redacted(value: Any, pulse: Pulse) -> Any:
    steps = redacting_value(value)
    while True:
        pulse()
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _fields(body: bytes, pulse: Pulse) -> Fields:
    try:
        fields = decode(body.decode("utf-8-sig"), pulse=pulse)
    except UnicodeDecodeError:
        raise InvalidRequest("The body must be JSON in UTF-8; it holds bytes that are not UTF-8.") from None
    except NotUsable as flaw:
        raise _unusable(flaw) from None
    if not isinstance(fields, dict):
        raise InvalidRequest(f"The body must be a JSON object; got {kind_of(fields)}.")
    items = fields.get("input")
    if isinstance(items, list) and len(items) > MAX_ITEMS:
        raise wrong("input", f"an array of at most {MAX_ITEMS} items", f"{len(items)}")
    return fields


def _unusable(flaw: NotUsable) -> InvalidRequest:
    # A long path helps nobody: what is nested that deep is named by its field.
    path = flaw.path if len(flaw.path) <= MAX_PATH else flaw.path[:1]
    param = ""
    for key in path:
        param = at(param, key)
    subject = f"`{param}`" if param else "The body"
    return InvalidRequest(f"{subject} {flaw.reason}.", param=param or None)


# What each field must be


def _metadata(value: Any, path: str) -> None:
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


_AN_OBJECT_OR_STRING = string_or(an_object, "a string or an object")

_FIELDS: Mapping[str, Check] = {
    "input": _input,
    "instructions": a_string,
    "model": a_string,
    "stream": a_boolean,
    "metadata": _metadata,
    "max_output_tokens": a_count,
    "max_tool_calls": a_count,
    "client_request_id": a_string,
    "custom_inputs": Shape(optional={"thread_id": a_string, "session_id": a_string}),
    "context": Shape(optional={"conversation_id": a_string, "user_id": a_string}),
    # Served elsewhere or not at all; see `unserved`.
    "background": a_boolean,
    "previous_response_id": a_string,
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
    # Without effect here: the graph decides, or there is nothing to decide.
    "frequency_penalty": a_number,
    "include": array_of(a_string),
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
"""What other APIs call it."""


def _check(fields: Fields) -> None:
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
    hint = f" Did you mean `{meant}`?" if meant else " Put what is meant for the graph into `custom_inputs`."
    return InvalidRequest(f"`{shown(name)}` is not a field of this API.{hint}", param=shown(name))


# What the fields mean


def _graph(model: str | None, graphs: Sequence[str], fallback: str | None) -> str | None:
    if model is None or model in graphs:
        return model
    if model in DEFAULT_MODELS or model.startswith("apps/"):
        return None
    if fallback is not None:
        return fallback
    close = difflib.get_close_matches(model[:MAX_METADATA_KEY], graphs, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    known = ", ".join(graphs) or "none"
    raise UnknownGraph(f"No graph named '{shown(model)}'; known: {known}.{hint}", param="model")


def _thread(fields: Fields) -> str | None:
    context, custom = fields.get("context") or {}, fields.get("custom_inputs") or {}
    return context.get("conversation_id") or custom.get("thread_id") or custom.get("session_id") or None


def _messages(fields: Fields, pulse: Pulse) -> list[BaseMessage]:
    items = fields["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    messages = to_messages(items, path="input", pulse=pulse)
    if not any(map(_asks, items)):
        raise InvalidRequest(
            "`input` leaves nothing to answer: add a user's message, a `function_call_output` "
            "or an `mcp_approval_response`.",
            param="input",
        )
    return [*_instructions(fields), *messages]


def _asks(item: Fields) -> bool:
    kind = item.get("type") or "message"
    return kind in ANSWERED or (kind == "message" and item["role"] != "assistant" and _says_something(item["content"]))


def _says_something(content: str | list[Fields]) -> bool:
    if isinstance(content, str):
        return bool(content) and not content.isspace()
    return any("text" not in part or _says_something(part["text"]) for part in content)


def _instructions(fields: Fields) -> list[BaseMessage]:
    text = fields.get("instructions")
    return [SystemMessage(text, id=new_id("msg"))] if text else []

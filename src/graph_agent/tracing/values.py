"""Converts inputs and outputs of spans to JSON, in the forms that MLflow's pages and scorers read.

Only types that are known to be data are written. Of any other object only the type is written, because its fields may
contain a client, a context or a secret.
"""

import dataclasses
import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

import orjson
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.types import Command, Send
from pydantic import BaseModel, SecretStr

from graph_agent.redaction import redact, redact_json
from graph_agent.tracing.shared_parts import shared_parts

MOST_CHARACTERS = 262_144
"""The longest value that is written whole, in bytes of JSON. In a longer one, long texts and lists are cut."""

MOST_TEXT = 4_096
"""Characters that are kept of a text in a value that is too long. Such texts are images and whole files in messages."""

MOST_ENTRIES = 200
"""Entries that are kept in a value that is too long: the first and last half of these for a list, the first of an
object."""

LONGEST_SECRET = 32_768
"""Characters after the kept ones that are also searched for secrets, because half a secret does not look like one."""

# orjson passes dataclasses and subclasses to `plain`. By itself it would write all of their fields.
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "system": "system", "tool": "tool"}
_PRIVATE_MODULES = ("langgraph.", "langchain.", "langchain_core.")


def to_json(value: Any) -> str:
    """The JSON of any value. Never raises."""
    try:
        parts = shared_parts()
        if parts is not None:
            whole = parts.json_of(value, fields=_fields, dumps=_dumps, most=MOST_CHARACTERS)
            if whole is not None:
                return whole
        text = _dumps(value)
        if len(text) > MOST_CHARACTERS:
            # Shorten before redacting: redaction holds the GIL, and megabytes of text would block the event loop.
            text = orjson.dumps(_shortened(orjson.loads(text)), option=_OPTIONS)
        return redact_json(text.decode())
    except (TypeError, ValueError, RecursionError):
        return _carefully(value)


def counts_as_json(counts: Any) -> str:
    """The same for numbers under the names of this package and of LangChain, which hold no secret."""
    return _dumps(counts).decode() if _is_counts(counts) else to_json(counts)


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(one) is int or _is_counts(one) for one in value.values())


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=plain, option=_OPTIONS)


def _fields(value: Any) -> Any:
    """The fields of a message or document. Anything else is returned as it is."""
    return plain(value) if isinstance(value, BaseMessage | Document) else value


def plain(value: Any) -> Any:
    """The replacement of an object that JSON cannot represent."""
    match value:
        case BaseMessage():
            return message_fields(value)
        case Document():
            return {"page_content": value.page_content, "metadata": value.metadata, "id": value.id}
        case Command():
            return {"update": value.update, "goto": value.goto}
        case Send():
            return {"node": value.node}
        case SecretStr():
            return "<SecretStr>"
        case str():
            return str(value)
        case int():
            return int(value)
        case list() | tuple() | set() | frozenset():
            return list(value)
        case Mapping():
            return dict(value)
        case BaseModel():
            return {name: getattr(value, name) for name, field in type(value).model_fields.items() if field.repr}
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not _is_machinery(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.repr}
    return f"<{type(value).__name__}>"


def message_fields(message: BaseMessage) -> dict[str, Any]:
    """A message in the form of the chat completions API."""
    fields: dict[str, Any] = {"role": _ROLES.get(message.type, message.type), "content": message.content}
    if message.name:
        fields["name"] = message.name
    if isinstance(message, ToolMessage):
        fields["tool_call_id"] = message.tool_call_id
    if isinstance(message, AIMessage) and message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": to_json(call["args"])},
            }
            for call in message.tool_calls
        ]
    return fields


def _is_machinery(value: Any) -> bool:
    """Whether it is an object of LangGraph or LangChain. Those contain the run's context and configuration."""
    return type(value).__module__.startswith(_PRIVATE_MODULES)


def _shortened(value: Any) -> Any:
    match value:
        case str() if len(value) > MOST_TEXT:
            return f"{redact(value[: MOST_TEXT + LONGEST_SECRET])[:MOST_TEXT]}… ({len(value)} characters)"
        case list() if len(value) > MOST_ENTRIES:
            half = MOST_ENTRIES // 2
            left_out = f"… ({len(value) - MOST_ENTRIES} more)"
            return [*map(_shortened, value[:half]), left_out, *map(_shortened, value[-half:])]
        case list():
            return [_shortened(one) for one in value]
        case dict():
            kept = {key: _shortened(one) for key, one in islice(value.items(), MOST_ENTRIES)}
            return kept if len(kept) == len(value) else kept | {"…": f"({len(value) - len(kept)} more)"}
    return value


def _carefully(value: Any) -> str:
    """The slow conversion, for values that orjson refuses: huge integers, lone surrogates, cycles."""
    try:
        text = json.dumps(value, default=plain, skipkeys=True, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(f"<{type(value).__name__}>")
    # Databases refuse text with half of a surrogate pair.
    return redact_json(text.encode(errors="replace").decode())

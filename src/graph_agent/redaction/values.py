"""JSON-like values, and the objects that become some, without their secrets."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from graph_agent.redaction.known_secrets import HIDDEN_VALUES, current_hidden_values
from graph_agent.redaction.names import has_sensitive, is_sensitive
from graph_agent.redaction.placeholders import is_placeholder
from graph_agent.redaction.text import (
    AT_ONCE,
    KNOWN_MARKER,
    LEAST_PAYLOAD,
    PAYLOAD,
    Steps,
    finished,
    found,
    redact,
    redacting,
)

BY_NAME = "[redacted secret]"

DEEPEST = 100
"""Levels of nesting that are looked into; what lies deeper is told by its type. Writers of JSON go no deeper."""

PER_VALUE = 100
"""Characters that a value counts for beside its own: it costs as much."""

_CONTENT_KEYS = frozenset({"file_data", "image_url", "file_url"})
_AN_ADDRESS = re.compile(r"\A(?:data:\S++\Z|https?://[^\s/?#@]++(?:[/?#]\S*+)?\Z)")
_PLAIN = (int, float, type(None))


def redact_value(value: Any) -> Any:
    """The value with its texts redacted: of mappings, lists, sets, tuples, dataclasses, models, paths, enums, bytes.

    The text under a name such as `password` goes whole, whatever it looks like. An object that holds a secret is
    returned as what JSON would say of it, any other as it is.
    """
    return finished(redacting_value(value))


def redacting_value(value: Any) -> Steps[Any]:
    """The same as `redact_value` in steps of a few milliseconds."""
    return _walked(value, _Effort(), DEEPEST)


def redact_json(text: str) -> str:
    """A JSON text with what `redact_value` takes out of the value that it is."""
    if has_sensitive(text):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return redact(text)
        shown = redact_value(value)
        if shown != value:
            return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    return redact(text)


class Redacted(dict[Any, Any]):
    """A mapping that was looked through already."""


@dataclass(slots=True)
class _Effort:
    """What was done since the last pause, in characters."""

    spent: int = 0

    def too_much(self, characters: int) -> bool:
        self.spent += characters + PER_VALUE
        if self.spent < AT_ONCE:
            return False
        self.spent = 0
        return True


def _walked(value: Any, effort: _Effort, levels: int) -> Steps[Any]:
    if effort.too_much(len(value) if isinstance(value, str | bytes) else 0):
        yield
    match value:
        case None | bool() | int() | float() if not isinstance(value, Enum):
            return value
        case str() if not isinstance(value, Enum):
            return (yield from redacting(value)) if len(value) > AT_ONCE else redact(value)
        case Redacted():
            return value
        case _ if levels == 0:
            return f"({type(value).__name__})"
        case Mapping():
            return (yield from _members(value, effort, levels))
        case list() | tuple() | set() | frozenset():
            shown = []
            for one in value:
                shown.append((yield from _walked(one, effort, levels - 1)))
            return shown if isinstance(value, list) else _like(value, shown)
    return (yield from _object(value, effort, levels))


def _like(value: Any, shown: list[Any]) -> Any:
    """Of the same type, where that takes them."""
    plain = next(kind for kind in (tuple, frozenset, set) if isinstance(value, kind))
    try:
        return plain(shown)
    except TypeError:
        return shown


def _members(value: Mapping[Any, Any], effort: _Effort, levels: int) -> Steps[dict[Any, Any]]:
    shown: dict[Any, Any] = {}
    for name, one in value.items():
        key = yield from _key(name, effort, levels)
        # Two secrets have one marker; neither of their values may be lost.
        while key in shown:
            key = f"{key}+"
        shown[key] = yield from _under(name, one, effort, levels - 1)
    return shown


def _key(name: Any, effort: _Effort, levels: int) -> Steps[Any]:
    if isinstance(name, _PLAIN):
        return name
    shown = yield from _walked(name, effort, levels - 1)
    return shown if isinstance(shown, str | bytes | tuple | Enum) or shown is name else str(shown)


def _under(name: Any, value: Any, effort: _Effort, levels: int) -> Steps[Any]:
    if not isinstance(name, str):
        return (yield from _walked(value, effort, levels))
    if name in _CONTENT_KEYS:
        return (yield from _content(value, effort, levels))
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if isinstance(text, str) and text:
        if is_sensitive(name) and not text.startswith("[redacted "):
            return value if is_placeholder(text) else BY_NAME
        if len(text) <= AT_ONCE and _told_by_name(name, text):
            return BY_NAME
    elif is_sensitive(name) and isinstance(value, list | tuple | set | frozenset):
        return [BY_NAME if isinstance(one, str | bytes) and one else one for one in value]
    return (yield from _walked(value, effort, levels))


def _told_by_name(name: str, text: str) -> bool:
    """Whether name and text together are what is taken for a secret in a text, as in `token: "…"`."""
    before = f'{name}: "'
    return any(start == len(before) for start, _, _ in found(f'{before}{text}"', None))


def _content(value: Any, effort: _Effort, levels: int) -> Steps[Any]:
    """An image or a file by its content or address: with a part replaced it is another one, or none."""
    if isinstance(value, str):
        payload = len(value) >= LEAST_PAYLOAD and PAYLOAD.fullmatch(value)
        if payload or _AN_ADDRESS.match(value):
            return _without_known(value)
    elif isinstance(value, Mapping) and isinstance(url := value.get("url"), str):
        rest = yield from _members({name: one for name, one in value.items() if name != "url"}, effort, levels)
        return {**rest, "url": (yield from _content(url, effort, levels))}
    return (yield from _walked(value, effort, levels))


def _without_known(text: str) -> str:
    for known in (HIDDEN_VALUES, current_hidden_values()):
        for value in known.values if known is not None else ():
            text = text.replace(value, KNOWN_MARKER)
    return text


def _object(value: Any, effort: _Effort, levels: int) -> Steps[Any]:
    """An object as it is, unless what JSON would say of it holds a secret."""
    said = _said_of(value)
    if said is None:
        return value
    shown = yield from _walked(said, effort, levels - 1)
    return value if shown == said else shown


def _said_of(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case PurePath():
            return str(value)
        case bytes() | bytearray():
            return bytes(value).decode("latin-1")
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    try:
        # Pydantic's models, and whoever else writes itself so.
        return value.model_dump() if hasattr(value, "model_dump") and not isinstance(value, type) else None
    except Exception:
        return None

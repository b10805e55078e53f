"""Redacts JSON-like values, and objects that can be converted to them."""

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
    SHORT,
    Steps,
    finished,
    found,
    is_clear,
    redact,
    redacting,
)

BY_NAME = "[redacted secret]"

DEEPEST = 100
"""Most levels of nesting. A deeper value is replaced by the name of its type. JSON writers do not go deeper either."""

PER_VALUE = 100
"""Extra characters that each value counts for in `_Effort`, because handling it takes as long as scanning these."""

_CONTENT_KEYS = frozenset({"file_data", "image_url", "file_url"})
_AN_ADDRESS = re.compile(r"\A(?:data:\S++\Z|https?://[^\s/?#@]++(?:[/?#]\S*+)?\Z)")
_PLAIN = (int, float, type(None))


def redact_value(value: Any) -> Any:
    """Redact the texts in mappings, lists, sets, tuples, dataclasses, Pydantic models, paths, enums and bytes.

    A text under a name such as `password` is replaced as a whole, whatever it looks like. An object that contains a
    secret is returned in its JSON form. Any other object is returned unchanged.
    """
    return finished(redacting_value(value))


def redacting_value(value: Any) -> Steps[Any]:
    """Do the same as `redact_value` in steps of a few milliseconds."""
    return _walked(value, _Effort(), DEEPEST)


def redact_json(text: str) -> str:
    """Redact a JSON text as `redact_value` redacts its value."""
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
    """A mapping that was redacted already."""


@dataclass(slots=True)
class _Effort:
    """The work since the last pause, in characters."""

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
    """Return the values as the type of `value`, if its constructor takes them."""
    plain = next(kind for kind in (tuple, frozenset, set) if isinstance(value, kind))
    try:
        return plain(shown)
    except TypeError:
        # A redacted member of a set may be a list or a mapping, which a set cannot contain.
        return shown


def _members(value: Mapping[Any, Any], effort: _Effort, levels: int) -> Steps[dict[Any, Any]]:
    shown: dict[Any, Any] = {}
    for name, one in value.items():
        as_it_is = False
        if type(name) is str and len(name) <= SHORT:
            as_it_is = type(one) is str and _are_clear(name, one)
            # As in `_key`, without two generators for each name.
            if effort.too_much(len(name) + (len(one) + PER_VALUE if as_it_is else 0)):
                yield
            key = name if as_it_is else redact(name)
        else:
            key = yield from _key(name, effort, levels)
        # Two secret keys get the same marker, and neither value may be lost.
        while key in shown:
            key = f"{key}+"
        shown[key] = one if as_it_is else (yield from _under(name, one, effort, levels - 1))
    return shown


def _are_clear(name: str, text: str) -> bool:
    """Whether a short text under a short name is no secret, and neither has one, as nearly all are. It may be false for
    some of them, too.

    One search through both takes a third of the time of those through each and through both.
    """
    if len(name) + len(text) > SHORT or is_sensitive(name):
        return False
    both = _as_pair(name, text)
    # Only in ASCII, the lower case of a part is a part of the lower case of the whole.
    return both.isascii() and is_clear(both, current_hidden_values())


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
        shown: list[Any] = []
        for one in value:
            is_text = isinstance(one, str | bytes) and one
            shown.append(BY_NAME if is_text else (yield from _walked(one, effort, levels - 1)))
        return shown
    return (yield from _walked(value, effort, levels))


def _told_by_name(name: str, text: str) -> bool:
    """Return whether name and text together would be a secret in running text, as in `token: "…"`."""
    begins = len(_as_pair(name, "")) - 1
    return any(start == begins for start, _, _ in found(_as_pair(name, text), None))


def _as_pair(name: str, text: str) -> str:
    return f'{name}: "{text}"'


def _content(value: Any, effort: _Effort, levels: int) -> Steps[Any]:
    """Redact an image or a file, given by its content or its address.

    Only known values are replaced. A pattern may match base64 by chance, and the replacement would break the file.
    """
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
    """Return the object unchanged, unless its JSON form contains a secret."""
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
        # Pydantic models, and other classes with the same method.
        return value.model_dump() if hasattr(value, "model_dump") and not isinstance(value, type) else None
    except Exception:  # noqa: BLE001 - the method is third-party code, and redaction must never fail a run
        return None

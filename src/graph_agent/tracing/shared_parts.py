"""Redacts the messages and long texts of a run once, although several of its spans have them.

An answer stands in the outputs of its model's call, of its node and of the run, and the messages of a conversation
stand in the inputs of each model's call. Redacting them takes most of the time of an export.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from graph_agent.redaction import may_tell, redact_json

LEAST = 96
"""Characters of a text that is redacted apart from the value that has it. For a shorter one that gains nothing."""

MOST_WALKED = 2_000
"""Entries of a list or object in which parts are looked for. A longer one is a table, not a conversation."""

DEEPEST = 12
"""Most levels at which they are looked for."""

_STANDS_FOR, _STANDS_FOR_IN_JSON = "\0", '"\\u0000"'
"""What stands in the place of a part meanwhile, and its JSON. No text consists of this character."""

Fields = Callable[[Any], Any]
Dumps = Callable[[Any], bytes]
_Part = tuple[int, str]
"""The size of a part in JSON, in bytes, and its redacted JSON."""


class _Apart(Exception):
    """The value cannot be redacted in parts: it is too long, or redaction has changed what stands for a part."""


class SharedParts:
    """The messages, documents and long texts of one run, with the JSON of their redacted forms."""

    def __init__(self) -> None:
        self._texts: dict[str, _Part] = {}
        self._objects: dict[int, tuple[Any, _Part]] = {}
        """By the identity of the object, which is kept so that no other one gets it."""

    def json_of(self, value: Any, *, fields: Fields, dumps: Dumps, most: int) -> str | None:
        """The redacted JSON of a value, or `None` if it cannot be put together from parts, such as one of more than
        `most` bytes.

        `fields` returns the fields of a message or document, and anything else as it is. `dumps` writes JSON.

        Raises:
            TypeError: JSON cannot represent the value.
        """
        try:
            return self._written(value, fields, dumps, most)[1]
        except _Apart:
            return None

    def _written(self, value: Any, fields: Fields, dumps: Dumps, most: int) -> "_Part":
        found: list[Any] = []
        rest = dumps(_without(value, found, fields, DEEPEST))
        size, parts = len(rest), []
        if size + sum(len(one) for one in found if type(one) is str) > most:
            # Before anything is redacted, because that holds the GIL.
            raise _Apart
        for one in found:
            part = self._part(one, fields, dumps, most)
            size += part[0]
            if size > most:
                raise _Apart
            parts.append(part[1])
        shown = redact_json(rest.decode())
        if not parts:
            return size, shown
        pieces = shown.split(_STANDS_FOR_IN_JSON)
        if len(pieces) != len(parts) + 1:
            raise _Apart
        written = [pieces[0]]
        for text, piece in zip(parts, pieces[1:], strict=True):
            written += (text, piece)
        return size, "".join(written)

    def _part(self, one: Any, fields: Fields, dumps: Dumps, most: int) -> "_Part":
        if type(one) is str:
            if (part := self._texts.get(one)) is None:
                raw = dumps(one)
                part = self._texts[one] = len(raw), redact_json(raw.decode())
            return part
        known = self._objects.get(id(one))
        if known is None:
            known = self._objects[id(one)] = one, self._written(fields(one), fields, dumps, most)
        return known[1]


_OF_RUN: ContextVar[SharedParts | None] = ContextVar("graph_agent_shared_parts", default=None)


def shared_parts() -> SharedParts | None:
    """Those of the run whose spans are being written, or `None`."""
    return _OF_RUN.get()


@contextmanager
def with_shared_parts() -> Iterator[None]:
    """Redact each message and long text only once inside of the block, where what is a secret must not change."""
    before = _OF_RUN.set(_OF_RUN.get() or SharedParts())
    try:
        yield
    finally:
        _OF_RUN.reset(before)


def _without(value: Any, found: list[Any], fields: Fields, levels: int) -> Any:
    """The value with something else in the place of its parts, which are added to `found`."""
    kind = type(value)
    if kind is str:
        if len(value) < LEAST:
            return value
    elif kind is dict:
        if not levels or len(value) > MOST_WALKED:
            return value
        return {
            # A name may say that the text under it is a secret. Then they are redacted together.
            name: _without(one, found, fields, levels - 1) if type(name) is str and _is_silent(name) else one
            for name, one in value.items()
        }
    elif kind is list:
        if not levels or len(value) > MOST_WALKED:
            return value
        return [_without(one, found, fields, levels - 1) for one in value]
    elif kind in _PLAIN or fields(value) is value:
        return value
    found.append(value)
    return _STANDS_FOR


_PLAIN = (int, float, bool, type(None))


@lru_cache(maxsize=1024)
def _is_silent(name: str) -> bool:
    return not may_tell(name)

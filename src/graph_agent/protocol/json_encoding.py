"""Encodes whatever a graph puts into its outputs as JSON: what JSON cannot express in part, and never with an error."""

from typing import Any

import orjson

OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY

DEEPEST = 100
"""Levels of nesting that are encoded. The limit of orjson is 254."""

LARGEST = 2**63


LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
"""Characters that JSON allows in strings and that many line readers treat as line ends, which would split an event in
two. Outside of strings JSON has none of them, so they can be replaced in the encoded text."""


def encode(value: Any) -> bytes:
    """The value as UTF-8 JSON on one line, whatever a reader treats as a line end.

    An object that JSON cannot express is encoded as its type, because its `repr` may contain secrets.
    """
    try:
        written = orjson.dumps(value, default=_plain, option=OPTIONS)
    except (TypeError, ValueError, RecursionError):
        # Half of a surrogate pair, an integer beyond 64 bits, a structure that contains itself. These are rare, so
        # looking for them in every value would cost more than failing first.
        written = orjson.dumps(_writable(value, DEEPEST), option=OPTIONS)
    # `isascii` costs next to nothing; searching for two bytes takes longer than encoding a token.
    if not written.isascii() and (b"\xe2\x80" in written or b"\xc2\x85" in written):
        for character, escape in LINE_ENDS:
            written = written.replace(character, escape)
    return written


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return list(value)
    try:
        return value.model_dump()
    except Exception:  # noqa: BLE001 - `model_dump` of foreign code may raise anything
        # Not a pydantic model, or one that cannot dump itself: an event must not fail because of it.
        return _type_of(value)


def _type_of(value: Any) -> str:
    return f"({type(value).__name__})"


def _writable(value: Any, levels: int) -> Any:
    match value:
        case str():
            # A pair of halves becomes its character, a lone half the replacement character.
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case bool() | float() | None:
            return value
        case int():
            return value if -LARGEST <= value < LARGEST else str(value)
        case _ if levels == 0:
            return _type_of(value)
        case dict():
            return {_writable(_key(key), 1): _writable(inner, levels - 1) for key, inner in value.items()}
        case list() | tuple():
            return [_writable(inner, levels - 1) for inner in value]
    return _writable_object(value, levels)


def _writable_object(value: Any, levels: int) -> Any:
    try:
        plain = orjson.loads(orjson.dumps(value, default=_plain, option=OPTIONS))
    except (TypeError, ValueError, RecursionError):
        plain = _plain(value)
    return _writable(plain, levels - 1)


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(key) if isinstance(key, int | float | bool) else _type_of(key)

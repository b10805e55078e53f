"""Replaces the `${…}` references of a bundle file with their values."""

import re
from collections.abc import Callable
from typing import Any

from graph_agent.errors import BadBundle

REFERENCE = re.compile(r"\$\{([^{}]*)\}")
DEEPEST = 8
"""How deep references to references may go. Deeper ones are taken for a cycle."""


def resolved(value: Any, look_up: Callable[[str], Any], depth: int = DEEPEST) -> Any:
    """`value` with every `${name}` in its strings replaced by `look_up(name)`, which may contain references itself.

    A string that is exactly one reference may be replaced by a list or a mapping.

    Raises:
        BadBundle: references form a cycle, `look_up` has no such name, or a list would be part of a longer string.
    """
    match value:
        case str():
            return _text(value, look_up, depth)
        case dict():
            return {key: resolved(item, look_up, depth) for key, item in value.items()}
        case list():
            return [resolved(item, look_up, depth) for item in value]
    return value


def _text(text: str, look_up: Callable[[str], Any], depth: int) -> Any:
    if not REFERENCE.search(text):
        return text
    if depth == 0:
        raise BadBundle(f"the references of {text!r} form a cycle", param=text)
    if whole := REFERENCE.fullmatch(text):
        return resolved(look_up(whole[1].strip()), look_up, depth - 1)

    def inner(found: re.Match[str]) -> str:
        value = resolved(look_up(found[1].strip()), look_up, depth - 1)
        if isinstance(value, dict | list):
            raise BadBundle(f"{found[0]} is not a single value, so it cannot be part of {text!r}", param=found[1])
        return str(value)

    return REFERENCE.sub(inner, text)

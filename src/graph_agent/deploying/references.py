"""`${…}` references of a bundle file, replaced by their values."""

import re
from collections.abc import Callable
from typing import Any

from graph_agent.errors import BadBundle

REFERENCE = re.compile(r"\$\{([^{}]*)\}")
DEEPEST = 8
"""References to references; more than this is a circle."""


def resolved(value: Any, look_up: Callable[[str], str]) -> Any:
    """`value` with every `${name}` in its strings replaced by `look_up(name)`, which may hold references itself.

    Raises:
        BadBundle: references go in a circle, or `look_up` knows no such name.
    """
    match value:
        case str():
            return _text(value, look_up, DEEPEST)
        case dict():
            return {key: resolved(item, look_up) for key, item in value.items()}
        case list():
            return [resolved(item, look_up) for item in value]
    return value


def _text(text: str, look_up: Callable[[str], str], depth: int) -> str:
    if not REFERENCE.search(text):
        return text
    if depth == 0:
        raise BadBundle(f"the references of {text!r} go in a circle", param=text)
    return REFERENCE.sub(lambda found: _text(look_up(found[1].strip()), look_up, depth - 1), text)

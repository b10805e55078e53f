"""JSON that is safe to carry on: standard numbers, writable text, bounded nesting."""

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 64
"""Levels of nesting; what is deeper cannot be written again by everything behind us."""


class NotUsable(ValueError):
    """The text is not JSON, or is JSON that cannot be carried on. `reason` completes "it ..."; `path` says where."""

    def __init__(self, reason: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def decode(text: str) -> Any:
    """The value of a JSON text. Raises `NotUsable`, and nothing else."""
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except NotUsable:
        raise
    except json.JSONDecodeError as error:
        raise NotUsable(f"is not JSON from line {error.lineno}, column {error.colno} on") from None
    except RecursionError:
        raise NotUsable(_TOO_DEEP) from None
    except ValueError:
        # The only other one: an integer with more digits than Python converts.
        raise NotUsable("holds a number that is too long") from None
    if flaw := _flaw(value, MAX_DEPTH):
        raise flaw
    return value


_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"


def _refuse(_: str) -> NoReturn:
    raise NotUsable("holds NaN or Infinity, which JSON does not have")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotUsable("holds a number that is too large")
    return number


def _flaw(value: Any, levels: int) -> NotUsable | None:
    """What cannot be carried on in `value`. The path is put together on the way out, so that sound values cost none."""
    if isinstance(value, str):
        return None if value.isascii() or _writable(value) else NotUsable("holds half of a surrogate pair")
    if not isinstance(value, dict | list):
        return None
    if not levels:
        return NotUsable(_TOO_DEEP)
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if flaw := _flaw(key, 0) or _flaw(inner, levels - 1):
            flaw.path = (key, *flaw.path)
            return flaw
    return None


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

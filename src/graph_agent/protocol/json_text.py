"""JSON that is safe to carry on: standard numbers, writable text, bounded nesting."""

import json
import json.decoder
import json.scanner
import math
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 64
"""Levels of nesting; what is deeper cannot be written again by everything behind us."""

MAX_VALUES = 300_000
"""Values of one text: each costs memory, and arrays and objects a look at each round of Python's collector."""

MOST_AT_ONCE = 20_000
"""Values of a text that is decoded in one go; at most 20 ms."""

Pulse = Callable[[], None]
"""Called between steps of long work: it may let others have a turn, and raise where nobody waits for the result."""


def no_pulse() -> None:
    """For work that is short, or that nobody else waits beside."""


class NotUsable(ValueError):
    """The text is not JSON, or is JSON that cannot be carried on. `reason` completes "it ..."; `path` says where."""

    def __init__(self, reason: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def decode(text: str, *, pulse: Pulse = no_pulse) -> Any:
    """The value of a JSON text; `pulse` is called all the while. Raises `NotUsable`, and what `pulse` raises."""
    try:
        value = _decoder(text, pulse).decode(text)
    except NotUsable:
        raise
    except json.JSONDecodeError as error:
        raise NotUsable(f"is not JSON from line {error.lineno}, column {error.colno} on") from None
    except RecursionError:
        raise NotUsable(_TOO_DEEP) from None
    except ValueError:
        # The only other one: an integer with more digits than Python converts.
        raise NotUsable("holds a number that is too long") from None
    if flaw := _flaw(value, MAX_DEPTH, pulse):
        raise flaw
    return value


def _decoder(text: str, pulse: Pulse) -> json.JSONDecoder:
    """The one in C holds the interpreter until it is through: for what takes it long, the one in Python."""
    if most_values(text) <= MOST_AT_ONCE:
        return json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
    return _Patient(pulse)


def most_values(text: str) -> int:
    """No JSON text has more values than this one may have: counted without reading it, strings and all."""
    return 1 + sum(map(text.count, "[{,"))


class _Patient(json.JSONDecoder):
    """Decodes value by value, so that other threads get their turn, and counts them."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse, self._values = pulse, 0
        super().__init__(parse_constant=_refuse, parse_float=self._counted(_finite), parse_int=self._counted(int))
        # What the standard library itself uses where it has no C; untyped there.
        itself: Any = self
        decoder: Any = json.decoder
        scanner: Any = json.scanner
        itself.parse_string = self._counted(decoder.scanstring)
        itself.parse_array = self._counted(decoder.JSONArray)
        itself.parse_object = self._counted(decoder.JSONObject)
        itself.scan_once = scanner.py_make_scanner(self)

    def _counted(self, parse: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any) -> Any:
            self._values += 1
            if self._values > MAX_VALUES:
                raise NotUsable(f"holds more than {MAX_VALUES} values")
            self._pulse()
            return parse(*given)

        return counted


_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"


def _refuse(_: str) -> NoReturn:
    raise NotUsable("holds NaN or Infinity, which JSON does not have")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotUsable("holds a number that is too large")
    return number


def _flaw(value: Any, levels: int, pulse: Pulse) -> NotUsable | None:
    """What cannot be carried on in `value`. The path is put together on the way out, so that sound values cost none."""
    if isinstance(value, str):
        return None if value.isascii() or _writable(value) else NotUsable("holds half of a surrogate pair")
    if not isinstance(value, dict | list):
        return None
    if not levels:
        return NotUsable(_TOO_DEEP)
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        pulse()
        if flaw := _flaw(key, 0, pulse) or _flaw(inner, levels - 1, pulse):
            flaw.path = (key, *flaw.path)
            return flaw
    return None


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

"""JSON that the rest of the service can process: standard numbers, text that UTF-8 can encode, bounded nesting."""

import json
import json.decoder
import json.scanner
import math
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 64
"""Levels of nesting. Encoders behind this service fail on deeper values."""

MAX_VALUES = 300_000
"""Values in one text. Each costs memory, and the garbage collector visits each array and object in every full pass."""

MOST_AT_ONCE = 20_000
"""Values of a text that the C decoder reads without a pause, which takes at most 20 ms."""

Pulse = Callable[[], None]
"""Called between steps of long work. It may let other tasks run, and may raise to stop the work."""


def no_pulse() -> None:
    """For work that is short or runs alone."""


class UnusableJson(ValueError):
    """The text is not JSON, or not JSON that can be processed. `reason` completes "it ..."; `path` says where."""

    def __init__(self, reason: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def decode(text: str, *, pulse: Pulse = no_pulse) -> Any:
    """The value of a JSON text. Calls `pulse` often. Raises `UnusableJson`, and whatever `pulse` raises."""
    try:
        value = _decoder(text, pulse).decode(text)
    except UnusableJson:
        raise
    except json.JSONDecodeError as error:
        raise UnusableJson(f"is not valid JSON at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise UnusableJson(_TOO_DEEP) from None
    except ValueError:
        # Python raises a plain `ValueError` only for an integer with more digits than it converts.
        raise UnusableJson("contains a number that is too long") from None
    if flaw := _flaw(value, MAX_DEPTH, pulse):
        raise flaw
    return value


def decode_own(text: str, *, pulse: Pulse = no_pulse) -> Any:
    """The value of a JSON text that this service has written, however long and whatever it says.

    Calls `pulse` often. Raises `ValueError` if the text is not JSON, and whatever `pulse` raises.
    """
    if most_values(text) <= MOST_AT_ONCE:
        return json.loads(text)
    return _Patient(pulse, most=None, parse_float=float, parse_constant=float).decode(text)


def _decoder(text: str, pulse: Pulse) -> json.JSONDecoder:
    """The C decoder holds the interpreter lock to its end, so long texts get the decoder in Python."""
    if most_values(text) <= MOST_AT_ONCE:
        return json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
    return _Patient(pulse, most=MAX_VALUES, parse_float=_finite, parse_constant=_refuse)


def most_values(text: str) -> int:
    """An upper bound of the values in a text, counted without parsing it."""
    return 1 + sum(map(text.count, "[{,"))


class _Patient(json.JSONDecoder):
    """Decodes value by value, so that other threads can run in between. It refuses a text with more than `most`."""

    def __init__(
        self,
        pulse: Pulse,
        *,
        most: int | None,
        parse_float: Callable[[str], float],
        parse_constant: Callable[[str], float],
    ) -> None:
        self._pulse, self._values, self._most = pulse, 0, most
        super().__init__(
            parse_constant=parse_constant, parse_float=self._counted(parse_float), parse_int=self._counted(int)
        )
        # The standard library uses these itself where its C decoder is missing. They have no types there.
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
            if self._most is not None and self._values > self._most:
                raise UnusableJson(f"contains more than {self._most} values")
            self._pulse()
            return parse(*given)

        return counted


_TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep"


def _refuse(_: str) -> NoReturn:
    raise UnusableJson("contains NaN or Infinity, which JSON does not allow")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise UnusableJson("contains a number that is too large")
    return number


def _flaw(value: Any, levels: int, pulse: Pulse) -> UnusableJson | None:
    """The first flaw in `value`. The path is built while returning, so that sound values do not pay for it."""
    if isinstance(value, str):
        return None if value.isascii() or _writable(value) else UnusableJson("contains half of a surrogate pair")
    if not isinstance(value, dict | list):
        return None
    if not levels:
        return UnusableJson(_TOO_DEEP)
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

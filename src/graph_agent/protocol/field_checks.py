"""Checks of wire values. Each raises `InvalidRequest` with the value's path as `param`.

The message says what was expected and what kind of value came. It never quotes the value, which may be private.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graph_agent.errors import InvalidRequest

Check = Callable[[Any, str], None]
"""Takes a value and its path."""

LARGEST_INTEGER = 2**31 - 1


def at(path: str, key: str | int) -> str:
    """The path of `key` inside `path`. A key that the caller chose is made short and printable."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{shown(key)}" if path else shown(key)


def shown(name: str) -> str:
    """A name that the caller chose, as an error may repeat it: short, printable, encodable."""
    short = name if len(name) <= 64 else f"{name[:64]}…"
    return "".join(character if character.isprintable() else "�" for character in short)


def kind_of(value: Any) -> str:
    """The kind of a value, in JSON's terms."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number with a fraction"
        case str():
            return "a string" if value else "an empty string"
        case list():
            return "an array" if value else "an empty array"
    return "an object"


def wrong(path: str, expected: str, got: str) -> InvalidRequest:
    """The error for a value of the wrong kind."""
    return InvalidRequest(f"`{path}` must be {expected}; got {got}.", param=path)


def a_string(value: Any, path: str) -> None:
    """Any string, also an empty one."""
    if not isinstance(value, str):
        raise wrong(path, "a string", kind_of(value))


def a_name(value: Any, path: str) -> None:
    """A string that is not empty: ids, names, addresses."""
    if not isinstance(value, str) or not value:
        raise wrong(path, "a string that is not empty", kind_of(value))


def a_boolean(value: Any, path: str) -> None:
    """`true` or `false`. A string such as "false" is an error, not a boolean."""
    if not isinstance(value, bool):
        raise wrong(path, "true or false", kind_of(value))


def a_number(value: Any, path: str) -> None:
    """Any number. A boolean is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, "a number", kind_of(value))


def a_count(value: Any, path: str) -> None:
    """A whole number from 1. A boolean is not a number."""
    expected = f"a whole number from 1 to {LARGEST_INTEGER}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(path, expected, kind_of(value))
    if not 1 <= value <= LARGEST_INTEGER:
        raise wrong(path, expected, "a number outside that range")


def an_object(value: Any, path: str) -> None:
    """Any JSON object."""
    if not isinstance(value, dict):
        raise wrong(path, "an object", kind_of(value))


def an_array(value: Any, path: str) -> None:
    """Any JSON array."""
    if not isinstance(value, list):
        raise wrong(path, "an array", kind_of(value))


def anything(value: Any, path: str) -> None:
    """Any value: it is kept, or has no effect here."""


def both(*checks: Check) -> Check:
    """A check that applies `checks` in order."""

    def checked(value: Any, path: str) -> None:
        for check in checks:
            check(value, path)

    return checked


def array_of(check: Check) -> Check:
    """An array whose every entry passes `check`."""

    def checked(value: Any, path: str) -> None:
        an_array(value, path)
        for index, entry in enumerate(value):
            check(entry, at(path, index))

    return checked


def string_or(check: Check, expected: str) -> Check:
    """A string, or a value that passes `check`; `expected` names both."""

    def checked(value: Any, path: str) -> None:
        if isinstance(value, dict | list):
            check(value, path)
        elif not isinstance(value, str):
            raise wrong(path, expected, kind_of(value))

    return checked


def one_of(*words: str) -> Check:
    """One of a closed set of strings."""
    expected = f"one of {', '.join(words)}"

    def checked(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise wrong(path, expected, kind_of(value))
        if value not in words:
            raise wrong(path, expected, "another string")

    return checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The fields an object must and may have. Other fields are kept unread. An optional field may be `null`."""

    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)
    alternatives: tuple[str, ...] = ()
    """At least one of these is required."""

    def __call__(self, value: Any, path: str) -> None:
        """Check an object of this shape."""
        an_object(value, path)
        for name, check in self.required.items():
            if name not in value:
                raise InvalidRequest(f"`{at(path, name)}` is missing.", param=at(path, name))
            check(value[name], at(path, name))
        for name, check in self.optional.items():
            if value.get(name) is not None:
                check(value[name], at(path, name))
        if self.alternatives and all(value.get(name) is None for name in self.alternatives):
            raise InvalidRequest(f"`{path}` needs {' or '.join(map(repr, self.alternatives))}.", param=path)

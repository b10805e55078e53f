"""Checks of wire values. Each raises `InvalidRequest` with the value's path as `param`.

The message says what was expected and what kind of value came. It never quotes the value, which may be private.

A check carries the JSON schema of what it accepts. So a table of checks is also the description of a body.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from graph_agent.errors import InvalidRequest

Schema = Mapping[str, Any]
"""A JSON schema (2020-12). A `title` makes it a component of its own in the description of the API."""


class Check(Protocol):
    """Takes a value and its path. Raises `InvalidRequest` if the value is wrong."""

    @property
    def schema(self) -> Schema:
        """The JSON schema of what the check accepts. It may accept more than the check, but never less."""

    def __call__(self, value: Any, path: str, /) -> None:
        """Check a value."""


def accepts(schema: Schema) -> Callable[[Callable[[Any, str], None]], Check]:
    """Make a function a `Check` with this schema."""

    def with_schema(function: Callable[[Any, str], None]) -> Check:
        # An attribute of the function, because the call of an object with a function inside takes longer.
        described: Any = function
        described.schema = schema
        return cast(Check, described)

    return with_schema


def or_null(schema: Schema) -> Schema:
    """The schema of a value that may also be `null`."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema and "const" not in schema and "title" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else {}


LARGEST_INTEGER = 2**31 - 1

NOT_BLANK = r"\S"
"""The pattern, in a schema, of a text that is not only white space."""


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


@accepts({"type": "string"})
def a_string(value: Any, path: str) -> None:
    """Any string, also an empty one."""
    if not isinstance(value, str):
        raise wrong(path, "a string", kind_of(value))


@accepts({"type": "string", "minLength": 1})
def a_name(value: Any, path: str) -> None:
    """A string that is not empty: ids, names, addresses."""
    if not isinstance(value, str) or not value:
        raise wrong(path, "a string that is not empty", kind_of(value))


@accepts({"type": "boolean"})
def a_boolean(value: Any, path: str) -> None:
    """`true` or `false`. A string such as "false" is an error, not a boolean."""
    if not isinstance(value, bool):
        raise wrong(path, "true or false", kind_of(value))


@accepts({"type": "number"})
def a_number(value: Any, path: str) -> None:
    """Any number. A boolean is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(path, "a number", kind_of(value))


def a_number_from(least: float, most: float) -> Check:
    """A number between two others, which it may be."""
    expected = f"a number from {least:g} to {most:g}"

    @accepts({"type": "number", "minimum": least, "maximum": most})
    def checked(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(path, expected, kind_of(value))
        if not least <= value <= most:
            raise wrong(path, expected, "a number outside that range")

    return checked


def a_whole_number(least: int, most: int) -> Check:
    """A whole number between two others, which it may be."""
    expected = f"a whole number from {least} to {most}"

    @accepts({"type": "integer", "minimum": least, "maximum": most})
    def checked(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(path, expected, kind_of(value))
        if not least <= value <= most:
            raise wrong(path, expected, "a number outside that range")

    return checked


@accepts({"type": "integer", "minimum": 1, "maximum": LARGEST_INTEGER})
def a_count(value: Any, path: str) -> None:
    """A whole number from 1. A boolean is not a number."""
    expected = f"a whole number from 1 to {LARGEST_INTEGER}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(path, expected, kind_of(value))
    if not 1 <= value <= LARGEST_INTEGER:
        raise wrong(path, expected, "a number outside that range")


@accepts({"type": "object"})
def an_object(value: Any, path: str) -> None:
    """Any JSON object."""
    if not isinstance(value, dict):
        raise wrong(path, "an object", kind_of(value))


@accepts({"type": "array"})
def an_array(value: Any, path: str) -> None:
    """Any JSON array."""
    if not isinstance(value, list):
        raise wrong(path, "an array", kind_of(value))


@accepts({})
def anything(value: Any, path: str) -> None:
    """Any value: it is kept, or has no effect here."""


def _all_of(schemas: Sequence[Schema]) -> Schema:
    """The schema of what all of these accept: one object of keywords, where none of them occurs twice."""
    said = [schema for schema in schemas if schema]
    merged: dict[str, Any] = {}
    for schema in said:
        if merged.keys() & schema.keys():
            return {"allOf": said}
        merged.update(schema)
    return merged


def both(*checks: Check) -> Check:
    """A check that applies `checks` in order."""

    @accepts(_all_of([check.schema for check in checks]))
    def checked(value: Any, path: str) -> None:
        for check in checks:
            check(value, path)

    return checked


def array_of(check: Check) -> Check:
    """An array whose every entry passes `check`."""

    @accepts({"type": "array", "items": check.schema})
    def checked(value: Any, path: str) -> None:
        an_array(value, path)
        for index, entry in enumerate(value):
            check(entry, at(path, index))

    return checked


def object_of(check: Check) -> Check:
    """An object with any names, every value of which passes `check`."""

    @accepts({"type": "object", "additionalProperties": check.schema})
    def checked(value: Any, path: str) -> None:
        an_object(value, path)
        for key, entry in value.items():
            check(entry, at(path, key))

    return checked


def string_or(check: Check, expected: str) -> Check:
    """A string, or a value that passes `check`; `expected` names both."""

    @accepts({"anyOf": [{"type": "string"}, check.schema]})
    def checked(value: Any, path: str) -> None:
        if isinstance(value, dict | list):
            check(value, path)
        elif not isinstance(value, str):
            raise wrong(path, expected, kind_of(value))

    return checked


def text_within(most: int, *, blank: bool = False, what: str = "a text") -> Check:
    """A string of at most `most` characters. Without `blank`, one of white space only is refused."""
    expected = f"{what} of at most {most} characters"
    schema: Schema = {"type": "string", "maxLength": most}

    @accepts(schema if blank else {**schema, "pattern": NOT_BLANK})
    def checked(value: Any, path: str) -> None:
        a_string(value, path)
        if not blank and not value.strip():
            raise wrong(path, expected, "none")
        if len(value) > most:
            raise wrong(path, expected, f"{len(value)}")

    return checked


def one_of(*words: str) -> Check:
    """One of a closed set of strings."""
    expected = f"one of {', '.join(words)}"

    @accepts({"type": "string", "enum": list(words)})
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

    @property
    def schema(self) -> Schema:
        """The JSON schema of the object."""
        properties = {name: check.schema for name, check in self.required.items()}
        properties |= {name: or_null(check.schema) for name, check in self.optional.items()}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if self.required:
            schema["required"] = list(self.required)
        if self.alternatives:
            schema["anyOf"] = [{"required": [name]} for name in self.alternatives]
        return schema

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


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a body: what it must be, and one sentence about it. It may be `null` if it is not required."""

    check: Check
    says: str
    required: str | None = None
    """What to send, if the field must be there."""

    @property
    def schema(self) -> Schema:
        """The JSON schema of the field."""
        schema = self.check.schema
        return {**(schema if self.required is not None else or_null(schema)), "description": self.says}


Fields = Mapping[str, Field]
"""All fields that a body may have. There are no others."""


def fields_schema(fields: Fields) -> dict[str, Any]:
    """The JSON schema of a body."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: field.schema for name, field in fields.items()},
        "additionalProperties": False,
    }
    if required := [name for name, field in fields.items() if field.required is not None]:
        schema["required"] = required
    return schema


def _unknown(name: str, fields: Fields) -> InvalidRequest:
    message = f"`{shown(name)}` is not a field of this address; it has {', '.join(fields)}."
    return InvalidRequest(message, param=shown(name))


def check_fields(
    given: Mapping[str, Any], fields: Fields, *, unknown: Callable[[str, Fields], InvalidRequest] = _unknown
) -> None:
    """Check that `given` has every field that is required, no unknown one, and none of the wrong kind.

    Raises:
        InvalidRequest: it does not; `param` is the path of the field. `unknown` makes the error for an unknown field.
    """
    for name in given:
        if name not in fields:
            raise unknown(name, fields)
    for name, one in fields.items():
        value = given.get(name)
        if value is not None:
            one.check(value, name)
        elif one.required is not None:
            if name not in given:
                raise InvalidRequest(f"`{name}` is missing: {one.required}.", param=name)
            one.check(None, name)

"""Reads `text.format`: the form that a request asks of the answer."""

import json
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

from graph_agent.answer_form import REFUSED, AnswerForm
from graph_agent.errors import InvalidRequest, UnsupportedField
from graph_agent.protocol.declared_tools import NAME, check_depth
from graph_agent.protocol.field_checks import Shape, a_boolean, a_name, a_string, an_object, at, one_of

PATH = "text.format"

MOST_SCHEMA = 65_536
"""Characters of a schema as JSON. The model reads it in every step."""

_KINDS = one_of("text", "json_object", "json_schema")
_SCHEMA = Shape(required={"name": a_name, "schema": an_object}, optional={"description": a_string, "strict": a_boolean})

OF_ROOT = frozenset({"$id", "$schema"})
"""Keywords that say nothing at the root of a schema."""

_NAMED = ("properties", "$defs", "definitions", "dependentSchemas")
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONE = ("items", "not", "if", "then", "else", "additionalProperties", "contains", "propertyNames")

_INDEX = re.compile(r"[0-9]{1,6}")

Fields = Mapping[str, Any]


def read_format(fields: Fields) -> tuple[AnswerForm | None, list[str]]:
    """The form of the answer, or `None` for a text, and warnings about what of it is not checked.

    Raises:
        InvalidRequest, UnsupportedField: `param` is the path of what is wrong.
    """
    given = (fields.get("text") or {}).get("format") or {"type": "text"}
    _KINDS(given["type"], f"{PATH}.type")
    if given["type"] == "text":
        return None, []
    if given["type"] == "json_object":
        return AnswerForm(kind="json_object"), []
    if isinstance(given.get("json_schema"), dict):
        raise InvalidRequest(
            f"`{PATH}.json_schema` is the form of chat completions: put its fields into `{PATH}` itself.",
            param=f"{PATH}.json_schema",
        )
    _SCHEMA(given, PATH)
    if NAME.fullmatch(given["name"]) is None:
        raise InvalidRequest(f"`{PATH}.name` must have at most 64 letters, digits, `_` and `-`.", param=f"{PATH}.name")
    path = f"{PATH}.schema"
    schema = {name: value for name, value in given["schema"].items() if name not in OF_ROOT}
    if len(json.dumps(schema, ensure_ascii=False)) > MOST_SCHEMA:
        raise InvalidRequest(f"`{path}` is longer than {MOST_SCHEMA} characters: make it shorter.", param=path)
    check_depth(schema, path)
    warnings: list[str] = []
    found = list(_subschemas(schema, path))
    # By identity: only what was checked as a schema may be one.
    checked = {id(one) for _, one in found}
    for where, one in found:
        _check(one, where, schema, checked)
        if "pattern" in one and not warnings:
            warnings = [f"`{PATH}.schema` has a `pattern`, which this service does not check."]
    form = AnswerForm(
        kind="json_schema",
        name=given["name"],
        schema=schema,
        description=given.get("description"),
        strict=given.get("strict"),
    )
    return form, warnings


def _subschemas(schema: Any, path: str) -> Iterator[tuple[str, Fields]]:
    if isinstance(schema, bool):
        return
    an_object(schema, path)
    yield path, schema
    for name in _NAMED:
        if name in schema:
            an_object(schema[name], at(path, name))
            for key, one in schema[name].items():
                yield from _subschemas(one, at(at(path, name), key))
    for name in _LISTED:
        if name in schema:
            if not isinstance(schema[name], list) or not schema[name]:
                raise InvalidRequest(f"`{at(path, name)}` must be an array of schemas.", param=at(path, name))
            for index, one in enumerate(schema[name]):
                yield from _subschemas(one, at(at(path, name), index))
    for name in _ONE:
        if name in schema:
            yield from _subschemas(schema[name], at(path, name))


def _check(schema: Fields, path: str, root: Fields, checked: Container[int]) -> None:
    for name, why in REFUSED.items():
        if name in schema:
            raise UnsupportedField(f"`{at(path, name)}` is not supported: {why}.", param=at(path, name))
    reference = schema.get("$ref")
    if reference is not None and not _is_known(reference, root, checked):
        raise UnsupportedField(
            f"`{at(path, '$ref')}` must be `#` or the path of a schema in this one, such as `#/$defs/name`: no address "
            "is fetched.",
            param=at(path, "$ref"),
        )
    for name, fits in _SHAPES.items():
        if name in schema and not fits(schema[name]):
            raise InvalidRequest(f"`{at(path, name)}` is not valid JSON schema.", param=at(path, name))


def _is_known(reference: Any, root: Any, checked: Container[int]) -> bool:
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return False
    found = root
    for part in reference.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and _INDEX.fullmatch(key) and int(key) < len(found):
            found = found[int(key)]
        else:
            return False
    return isinstance(found, bool) or id(found) in checked


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})

_SHAPES: Mapping[str, Any] = {
    "type": lambda value: value in TYPES if isinstance(value, str) else _are_names(value) and TYPES.issuperset(value),
    "enum": lambda value: isinstance(value, list),
    "required": _are_names,
    "dependentRequired": lambda value: isinstance(value, dict) and all(map(_are_names, value.values())),
    "uniqueItems": lambda value: isinstance(value, bool),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(
        (
            *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
            *("minContains", "maxContains"),
        ),
        _is_count,
    ),
}
"""Keywords -> whether a value of theirs can be used. The library would fail on others."""

"""Translates the filters of a Vector Search query into a SQL condition.

    {"title": "README"}                   equal
    {"title": ["README", "Settings"]}     one of
    {"title NOT": "README"}               not equal; with a list, none of
    {"position >=": 3}                    also <, <= and >
    {"text LIKE": "timeout"}              contains the word; with a list, one of the words
    {"doc_uri OR title": ["a", "b"]}      doc_uri equals a, or title equals b

Several keys are joined with AND. Values are always bound as parameters, and columns come from `COLUMNS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from graph_agent.errors import InvalidRequest

COLUMNS: Mapping[str, type[str] | type[int]] = {
    "chunk_id": str,
    "doc_uri": str,
    "title": str,
    "text": str,
    "position": int,
}

MOST_VALUES = 500
"""SQLite limits the depth of an expression to 1000, and each value adds to it."""

Scalar = str | int | float
Condition = tuple[str, list[Scalar]]


def where(filters: Mapping[str, Any]) -> Condition:
    """The SQL condition and its parameters. Raises `InvalidRequest` for an unknown column, operator or value."""
    conditions = [condition(key, value) for key, value in filters.items()]
    values = [item for _, found in conditions for item in found]
    if max(len(values), len(conditions)) > MOST_VALUES:
        raise InvalidRequest(f"Filters may have at most {MOST_VALUES} values; use fewer.", param="filters_json")
    return " AND ".join(f"({sql})" for sql, _ in conditions) or "1", values


def condition(key: str, value: Any) -> Condition:
    if " OR " in key:
        return either([part.strip() for part in key.split(" OR ")], value)
    column, _, operator = key.strip().partition(" ")
    if column not in COLUMNS:
        raise InvalidRequest(f"There is no column {column!r}; use one of: {', '.join(COLUMNS)}.", param="filters_json")
    match operator.strip().upper():
        case "":
            return one_of(column, values_of(key, value))
        case "NOT":
            sql, parameters = one_of(column, values_of(key, value))
            return f"NOT ({sql})", parameters
        case "<" | "<=" | ">" | ">=" as comparison:
            return f"{column} {comparison} ?", [single(key, value)]
        case "LIKE":
            words = values_of(key, value)
            return " OR ".join(f"has_words({column}, ?)" for _ in words) or "0", words
        case unknown:
            raise InvalidRequest(
                f"There is no operator {unknown!r}; use one of: NOT, <, <=, >, >=, LIKE, OR.", param="filters_json"
            )


def either(columns: Sequence[str], value: Any) -> Condition:
    values = values_of(" OR ".join(columns), value)
    if len(values) != len(columns):
        raise InvalidRequest("An OR filter needs a list with one value for each column.", param="filters_json")
    conditions = [condition(column, item) for column, item in zip(columns, values, strict=True)]
    return " OR ".join(f"({sql})" for sql, _ in conditions), [item for _, found in conditions for item in found]


def one_of(column: str, values: list[Scalar]) -> Condition:
    return f"{column} IN ({', '.join('?' * len(values))})", values


def values_of(key: str, value: Any) -> list[Scalar]:
    return [single(key, item) for item in value] if isinstance(value, list) else [single(key, value)]


def single(key: str, value: Any) -> Scalar:
    # In Python a bool is an int, but no column of the index is boolean.
    if isinstance(value, str | int | float) and not isinstance(value, bool) and fits_sqlite(value):
        return value
    raise InvalidRequest(f"The value of {key!r} must be text or a number.", param="filters_json")


def fits_sqlite(value: Scalar) -> bool:
    # SQLite's integers have 64 bits. A larger one raises OverflowError when it is bound.
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def has_words(text: str | int, words: str) -> bool:
    """Whether the text has each of the words as a token between whitespace, as LIKE does in Vector Search."""
    return set(str(words).split()) <= set(str(text).split())

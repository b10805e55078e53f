"""Filters as the text that storage-optimized endpoints accept, like the condition of a SQL query."""

from collections.abc import Mapping
from typing import Any

from graph_agent.errors import ConfigurationError


def sql_filter(filters: Mapping[str, Any]) -> str:
    """The filters of a standard endpoint as text; empty for no filters.

    Raises:
        ConfigurationError: a value has a quote or a backslash, for which Databricks documents no escape.
    """
    return " AND ".join(f"({_condition(key, value)})" for key, value in filters.items())


def _condition(key: str, value: Any) -> str:
    if " OR " in key:
        pairs = zip(key.split(" OR "), value, strict=True)
        return " OR ".join(_condition(column.strip(), one) for column, one in pairs)
    column, _, operator = key.partition(" ")
    several = isinstance(value, list | tuple)
    match operator.strip().upper():
        case "":
            return f"{column} IN ({_listed(value)})" if several else f"{column} = {_literal(value)}"
        case "NOT":
            return f"{column} NOT IN ({_listed(value)})" if several else f"{column} != {_literal(value)}"
        case "LIKE":
            return " OR ".join(f"{column} LIKE {_literal(one)}" for one in (value if several else [value]))
        case comparison:
            return f"{column} {comparison} {_literal(value)}"


def _listed(values: Any) -> str:
    return ", ".join(_literal(value) for value in values)


def _literal(value: Any) -> str:
    # Before int, as in Python a bool is an int.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if "'" in str(value) or "\\" in str(value):
        raise ConfigurationError(
            "on a storage-optimized endpoint a filter's text must not contain a quote or a backslash"
        )
    return f"'{value}'"

"""Filters of a search: those its author fixed, and those its model chose among declared columns.

A filter is `{"column": value}`, as Vector Search has it: a list means one of, and the key may carry an operator:
`NOT`, `<`, `<=`, `>`, `>=`, `LIKE`, or `a OR b` with one value each. Several keys hold together.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.tools import ToolException

from graph_agent.databricks.index_query import Filters
from graph_agent.databricks.sql_filters import sql_filter
from graph_agent.errors import ConfigurationError

COMPARISONS = ("<=", ">=", "<", ">")
OPERATORS = ("", "NOT", "LIKE", *COMPARISONS)
SPELLINGS: Mapping[str, str] = {
    **{operator: operator for operator in OPERATORS},
    **dict.fromkeys(("=", "==", "EQ", "EQUALS", "IS", "IN"), ""),
    **dict.fromkeys(("!=", "<>", "NE", "NEQ", "NOT IN", "NIN", "IS NOT"), "NOT"),
    **dict.fromkeys(("CONTAINS", "ILIKE"), "LIKE"),
    **{"LT": "<", "LTE": "<=", "=<": "<=", "GT": ">", "GTE": ">=", "=>": ">="},
}
"""What models write for an operator, in capitals; the index knows the meaning on the right."""

MOST_CONDITIONS = 16
MOST_VALUES = 64
LONGEST_TEXT = 512
"""Characters of one value."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS: Mapping[type, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class FilterRules:
    """What a model may filter by, and what holds whatever it chooses."""

    columns: Mapping[str, type]
    """Declared columns and the type of their values: `str`, `int`, `float` or `bool`."""

    fixed: Filters
    """A mapping, or the text a storage-optimised endpoint takes."""

    as_text: bool
    """Whether the endpoint takes a text."""

    def __post_init__(self) -> None:
        if isinstance(self.fixed, str) and self.fixed and not self.as_text:
            raise ConfigurationError(
                "`filters` as text is for storage-optimised endpoints: set `storage_optimized=True`"
            )
        if not isinstance(self.fixed, str | Mapping):
            raise ConfigurationError("`filters` is a mapping such as {'price >=': 3}, or a text")
        for key, value in self.fixed.items() if isinstance(self.fixed, Mapping) else ():
            _check_fixed(key, value)
        for name, kind in self.columns.items():
            if not _NAME.fullmatch(name) or kind not in _KINDS:
                raise ConfigurationError(f"`filterable` maps column names to str, int, float or bool; not {name!r}")

    def combined(self, chosen: Any) -> Filters:
        """The fixed filters, and what the model chose: both hold, so the model can only narrow.

        Raises:
            ToolException: what the model chose cannot be used; says what can. For the model to read.
        """
        checked = dict(self._checked(chosen)) if chosen else {}
        if isinstance(self.fixed, str):
            parts = [part for part in (self.fixed, sql_filter(checked)) if part]
            return " AND ".join(f"({part})" for part in parts)
        if self.as_text:
            return sql_filter({**checked, **self.fixed})
        return {**checked, **self.fixed}

    def allowed(self) -> str:
        """What a model may choose, in words."""
        if not self.columns:
            return "This search takes no filters: call it with a query alone."
        names = ", ".join(f"{name} ({_KINDS[kind]})" for name, kind in self.columns.items())
        return (
            f"Columns: {names}. Each filter is one key and value, and all must hold. Key: a column, for equal to the "
            "value or to one of a list; 'column NOT'; 'column <', '<=', '>', '>='; 'column LIKE', for text that holds "
            "the word; or 'column1 OR column2', with a list of one value each."
        )

    def schema(self) -> dict[str, Any]:
        """The argument as a chat model is told of it; no `anyOf`, which Databricks' endpoints do not take."""
        item = {
            "type": "object",
            "properties": {
                "key": {"type": "string", "description": "a column, with an operator if need be"},
                "value": {"description": "a value, or a list of values"},
            },
            "required": ["key", "value"],
        }
        description = f"Optional; search without filters first if unsure. {self.allowed()}"
        return {"type": "array", "items": item, "description": description}

    def _checked(self, chosen: Any) -> Iterator[tuple[str, Any]]:
        if not self.columns:
            raise self._refused("filters are not served")
        seen = set()
        for given, value in self._items(chosen):
            key = self._spelled(given)
            if key in seen:
                raise self._refused(f"{key!r} is given twice")
            if isinstance(self.fixed, Mapping) and key in self.fixed:
                raise self._refused(f"{key!r} is fixed for this search; leave it out")
            seen.add(key)
            self._check(key, value)
            yield key, value

    def _items(self, chosen: Any) -> list[tuple[str, Any]]:
        if isinstance(chosen, str):
            chosen = _parsed(chosen)
        if isinstance(chosen, Mapping):
            # Also a lone filter, and the form the index itself takes.
            lone = "key" in chosen and "value" in chosen
            chosen = [chosen] if lone else [{"key": k, "value": v} for k, v in chosen.items()]
        if not isinstance(chosen, list) or len(chosen) > MOST_CONDITIONS:
            raise self._refused(f"filters must be a list of at most {MOST_CONDITIONS}")
        return [self._item(one) for one in chosen]

    def _item(self, one: Any) -> tuple[str, Any]:
        """Its key, with the operator where that stands apart; nothing of a filter is left out in silence."""
        if not isinstance(one, Mapping) or not isinstance(one.get("key"), str) or "value" not in one:
            raise self._refused("each filter must have a key and a value")
        if unknown := sorted(str(name)[:32] for name in one if name not in ("key", "value", "operator")):
            raise self._refused(f"a filter has no field {unknown[0]!r}")
        key, operator = one["key"], one.get("operator")
        if operator is None:
            return key, one["value"]
        if not isinstance(operator, str) or " OR " in key:
            raise self._refused(f"{key!r} has no operator this search knows")
        column, _, own = " ".join(key.split()).partition(" ")
        if own and SPELLINGS.get(own.upper()) != SPELLINGS.get(" ".join(operator.split()).upper()):
            raise self._refused(f"{key!r} has two operators")
        return f"{column} {operator}", one["value"]

    def _spelled(self, key: str) -> str:
        """The key as the index takes it."""
        key = " ".join(key.split())
        if " OR " in key:
            return key
        column, _, operator = key.partition(" ")
        known = SPELLINGS.get(operator.upper())
        if known is None:
            raise self._refused(f"{key[:64]!r} has no operator this search knows")
        return f"{column} {known}".rstrip()

    def _check(self, key: str, value: Any) -> None:
        names = key.split(" OR ")
        if len(names) > 1:
            if not isinstance(value, list) or len(value) != len(names):
                raise self._refused(f"{key!r} needs a list with one value per column")
            for name, one in zip(names, value, strict=True):
                self._check_value(name, self._kind(name), one)
            return
        column, _, operator = key.partition(" ")
        kind = self._kind(column)
        if operator == "LIKE" and kind is not str:
            raise self._refused(f"LIKE is for text, and {column} holds a {_KINDS[kind]}")
        several = isinstance(value, list)
        if several and (operator in COMPARISONS or not 0 < len(value) <= MOST_VALUES):
            raise self._refused(
                f"{key!r} takes {'one value' if operator in COMPARISONS else 'a value or a short list'}"
            )
        for one in value if several else [value]:
            self._check_value(key, kind, one)

    def _kind(self, column: str) -> type:
        if column not in self.columns:
            raise self._refused(f"{column[:64]!r} is no column to filter by")
        return self.columns[column]

    def _check_value(self, key: str, kind: type, value: Any) -> None:
        fits = isinstance(value, int | float if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise self._refused(f"the value of {key!r} must be a {_KINDS[kind]}")
        if isinstance(value, float) and not math.isfinite(value):
            raise self._refused(f"the value of {key!r} must be finite")
        if isinstance(value, str) and (len(value) > LONGEST_TEXT or (self.as_text and set(value) & set("'\\"))):
            raise self._refused(f"the value of {key!r} must be short, without quotes and backslashes")

    def _refused(self, problem: str) -> ToolException:
        return ToolException(f"{problem}. {self.allowed()}")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _check_fixed(key: Any, value: Any) -> None:
    """An author's filter whose operator no index knows would be refused at every search."""
    if not isinstance(key, str):
        raise ConfigurationError(f"`filters` maps columns to values; not {key!r}")
    columns = key.split(" OR ")
    if len(columns) > 1 and not (isinstance(value, list | tuple) and len(value) == len(columns)):
        raise ConfigurationError(f"the filter {key!r} needs a list with one value per column")
    for one in columns:
        operator = one.strip().partition(" ")[2].strip()
        if operator.upper() not in OPERATORS:
            raise ConfigurationError(f"the filter {key!r} has no operator an index knows: {', '.join(OPERATORS[1:])}")

"""Filters of a search: those that its author fixed, and those that the model chose among declared columns.

A filter is `{"column": value}`, as in Vector Search. A list of values means any of them. The key may carry an operator:
`NOT`, `<`, `<=`, `>`, `>=`, `LIKE`, or `a OR b` with one value for each column. All keys must match.
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
"""Operators as models write them, in capitals, and the operator of the index that each one means."""

MOST_CONDITIONS = 16
MOST_VALUES = 64
LONGEST_TEXT = 512
"""Characters of one value."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS: Mapping[type, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class FilterRules:
    """What a model may filter by, and the filters that always apply."""

    columns: Mapping[str, type]
    """Declared columns and the type of their values: `str`, `int`, `float` or `bool`."""

    fixed: Filters
    """A mapping, or the text that a storage-optimized endpoint accepts."""

    as_text: bool
    """Whether the endpoint accepts filters as text."""

    def __post_init__(self) -> None:
        if isinstance(self.fixed, str) and self.fixed and not self.as_text:
            raise ConfigurationError(
                "`filters` as text is for storage-optimized endpoints: set `storage_optimized=True`"
            )
        if not isinstance(self.fixed, str | Mapping):
            raise ConfigurationError("`filters` must be a mapping such as {'price >=': 3}, or a string")
        for key, value in self.fixed.items() if isinstance(self.fixed, Mapping) else ():
            _check_fixed(key, value)
        for name, kind in self.columns.items():
            if not _NAME.fullmatch(name) or kind not in _KINDS:
                raise ConfigurationError(
                    f"`filterable` must map column names to str, int, float or bool; check {name!r}"
                )

    def combined(self, chosen: Any) -> Filters:
        """The fixed filters and the model's. Both apply, so the model can only narrow the search.

        Raises:
            ToolException: the model's filters cannot be used. The message tells the model what it may use.
        """
        checked = dict(self._checked(chosen)) if chosen else {}
        if isinstance(self.fixed, str):
            parts = [part for part in (self.fixed, sql_filter(checked)) if part]
            return " AND ".join(f"({part})" for part in parts)
        if self.as_text:
            return sql_filter({**checked, **self.fixed})
        # The fixed ones last: they win, though `_checked` has refused a key that is in both.
        return {**checked, **self.fixed}

    def allowed(self) -> str:
        """What a model may filter by, as text for the model."""
        if not self.columns:
            return "This search takes no filters: call it with a query alone."
        names = ", ".join(f"{name} ({_KINDS[kind]})" for name, kind in self.columns.items())
        return (
            f"Columns: {names}. Each filter is one key and value, and all must hold. Key: a column, for equal to the "
            "value or to one of a list; 'column NOT'; 'column <', '<=', '>', '>='; 'column LIKE', for text that holds "
            "the word; or 'column1 OR column2', with a list of one value each."
        )

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the argument. Without `anyOf`, which Databricks endpoints do not accept."""
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
            raise self._refused("filters are not supported")
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
            # Some models write arguments that are lists as JSON text.
            chosen = _parsed(chosen)
        if isinstance(chosen, Mapping):
            # Models also write a single filter, or the form of the index itself.
            lone = "key" in chosen and "value" in chosen
            chosen = [chosen] if lone else [{"key": k, "value": v} for k, v in chosen.items()]
        if not isinstance(chosen, list) or len(chosen) > MOST_CONDITIONS:
            raise self._refused(f"filters must be a list of at most {MOST_CONDITIONS}")
        return [self._item(one) for one in chosen]

    def _item(self, one: Any) -> tuple[str, Any]:
        """The key, including an operator in its own field, and the value.

        An unknown field is refused: a filter that is silently ignored would give wrong results.
        """
        if not isinstance(one, Mapping) or not isinstance(one.get("key"), str) or "value" not in one:
            raise self._refused("each filter must have a key and a value")
        if unknown := sorted(str(name)[:32] for name in one if name not in ("key", "value", "operator")):
            raise self._refused(f"a filter has no field {unknown[0]!r}")
        key, operator = one["key"], one.get("operator")
        if operator is None:
            return key, one["value"]
        if not isinstance(operator, str) or " OR " in key:
            raise self._refused(f"{key!r} has an operator that this search does not support")
        column, _, own = " ".join(key.split()).partition(" ")
        if own and SPELLINGS.get(own.upper()) != SPELLINGS.get(" ".join(operator.split()).upper()):
            raise self._refused(f"{key!r} has two operators")
        return f"{column} {operator}", one["value"]

    def _spelled(self, key: str) -> str:
        """The key with the index's own spelling of the operator."""
        key = " ".join(key.split())
        # Operators cannot be combined with several columns.
        if " OR " in key:
            return key
        column, _, operator = key.partition(" ")
        known = SPELLINGS.get(operator.upper())
        if known is None:
            raise self._refused(f"{key[:64]!r} has an operator that this search does not support")
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
            raise self._refused(f"LIKE works on text only, and {column} is a {_KINDS[kind]}")
        several = isinstance(value, list)
        if several and (operator in COMPARISONS or not 0 < len(value) <= MOST_VALUES):
            raise self._refused(
                f"{key!r} takes {'one value' if operator in COMPARISONS else 'a value or a short list'}"
            )
        for one in value if several else [value]:
            self._check_value(key, kind, one)

    def _kind(self, column: str) -> type:
        if column not in self.columns:
            raise self._refused(f"{column[:64]!r} is not a filterable column")
        return self.columns[column]

    def _check_value(self, key: str, kind: type, value: Any) -> None:
        # In Python a bool is an int too, which an index does not accept for a number.
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
    """Check an author's filter now, as the index would refuse a wrong operator in every search."""
    if not isinstance(key, str):
        raise ConfigurationError(f"`filters` must map column names to values; {key!r} is not a column name")
    columns = key.split(" OR ")
    if len(columns) > 1 and not (isinstance(value, list | tuple) and len(value) == len(columns)):
        raise ConfigurationError(f"the filter {key!r} needs a list with one value per column")
    for one in columns:
        operator = one.strip().partition(" ")[2].strip()
        if operator.upper() not in OPERATORS:
            raise ConfigurationError(
                f"the filter {key!r} has an unknown operator; use one of {', '.join(OPERATORS[1:])}"
            )

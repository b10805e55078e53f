"""A Unity Catalog function as a model's tool and as a SQL statement. No I/O: metadata and arguments in, values out.

Values are never part of the statement's text. They are sent as named parameters.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.tools import ToolException

from graph_agent.databricks.remote_tool import Result, shorten
from graph_agent.errors import ToolFailed

if TYPE_CHECKING:
    from databricks.sdk.service.catalog import FunctionInfo, FunctionParameterInfo
    from databricks.sdk.service.sql import StatementParameterListItem, StatementResponse

MOST_ROWS = 100
"""Rows of a table function's result. The statement runs with this limit."""

# Type names of the catalog that SQL spells differently.

_SQL: Mapping[str, str] = {"LONG": "BIGINT", "SHORT": "SMALLINT", "BYTE": "TINYINT", "CHAR": "STRING"}
_JSON: Mapping[str, dict[str, Any]] = {
    **{key: {"type": "integer"} for key in ("INT", "LONG", "SHORT", "BYTE")},
    **{key: {"type": "number"} for key in ("FLOAT", "DOUBLE", "DECIMAL")},
    "BOOLEAN": {"type": "boolean"},
    "DATE": {"type": "string", "format": "date"},
    **{key: {"type": "string", "format": "date-time"} for key in ("TIMESTAMP", "TIMESTAMP_NTZ")},
    "ARRAY": {"type": "array", "items": {}},
    **{key: {"type": "object"} for key in ("MAP", "STRUCT")},
}
_TYPE = re.compile(r"[\w<>,:() ]+")


def schema(function: "FunctionInfo") -> dict[str, Any]:
    """The JSON schema of the arguments. Those with a default are optional."""
    properties, required = {}, []
    for parameter in parameters(function):
        kind = _kind(parameter)
        described = parameter.comment or ("" if kind == "STRING" else parameter.type_text)
        properties[parameter.name] = _JSON.get(kind, {"type": "string"}) | (
            {"description": described} if described else {}
        )
        if parameter.parameter_default is None:
            required.append(parameter.name)
    return {"type": "object", "properties": properties, "required": required}


def statement(function: "FunctionInfo", arguments: Mapping[str, Any]) -> tuple[str, list["StatementParameterListItem"]]:
    """The statement that calls the function, and the statement's parameters.

    Raises:
        ToolException: the arguments do not match the function's parameters; for the model.
    """
    from databricks.sdk.service.sql import StatementParameterListItem

    known = {parameter.name: parameter for parameter in parameters(function)}
    if unknown := sorted(set(arguments) - set(known)):
        raise ToolException(f"there is no parameter {unknown[0]!r}; the parameters are: {', '.join(known) or 'none'}")
    if missing := [name for name in schema(function)["required"] if name not in arguments]:
        raise ToolException(f"parameters are missing: {', '.join(missing)}")
    given, values = [], []
    for number, (name, value) in enumerate(arguments.items()):
        expression, kind = _passed(known[name], f":p{number}")
        given.append(f"{quote_identifier(name)} => {expression}")
        values.append(StatementParameterListItem(name=f"p{number}", type=kind, value=_written(value)))
    called = f"{quote_identifier(*(function.full_name or '').split('.'))}({', '.join(given)})"
    return (f"SELECT * FROM {called}" if _is_table(function) else f"SELECT {called} AS result"), values


def result(function: "FunctionInfo", response: "StatementResponse") -> Result:
    """A scalar as text, or rows as JSON with their column names."""
    rows = (response.result.data_array if response.result else None) or []
    if not _is_table(function):
        value = rows[0][0] if rows and rows[0] else None
        return shorten("null" if value is None else str(value)), None
    return table(response, rows)


def table(response: "StatementResponse", rows: Sequence[Sequence[Any]]) -> Result:
    """Rows as compact JSON, and the same as structured content."""
    manifest = response.manifest
    columns = [column.name for column in (manifest.schema.columns or [])] if manifest and manifest.schema else []
    whole = {"columns": columns, "rows": [list(row) for row in rows[:MOST_ROWS]]}
    cut = len(rows) > MOST_ROWS or bool(manifest and manifest.truncated)
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    return shorten(text + ("\n[more rows were left out]" if cut else "")), whole


def parameters(function: "FunctionInfo") -> list["FunctionParameterInfo"]:
    """The function's parameters in order."""
    given = function.input_params.parameters if function.input_params else None
    return sorted(given or [], key=lambda parameter: parameter.position)


def quote_identifier(*parts: str) -> str:
    """A quoted identifier, with any characters in its parts."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def _is_table(function: "FunctionInfo") -> bool:
    return function.data_type is not None and function.data_type.value == "TABLE_TYPE"


def _passed(parameter: "FunctionParameterInfo", marker: str) -> tuple[str, str]:
    """The SQL expression for a value, and the type it is sent as."""
    kind = _kind(parameter)
    # The API takes no nested types, intervals, variants or bytes as parameters, so SQL converts them from text.
    if kind in ("ARRAY", "MAP", "STRUCT"):
        return f"from_json({marker}, '{_type_text(parameter)}')", "STRING"
    if kind == "INTERVAL":
        return f"CAST({marker} AS {_type_text(parameter)})", "STRING"
    if kind == "VARIANT":
        return f"parse_json({marker})", "STRING"
    if kind == "BINARY":
        return f"unbase64({marker})", "STRING"
    if kind == "DECIMAL":
        size = f"{parameter.type_precision},{parameter.type_scale or 0}" if parameter.type_precision else "38,18"
        return marker, f"DECIMAL({size})"
    return marker, _SQL.get(kind, kind)


def _kind(parameter: "FunctionParameterInfo") -> str:
    # The SDK returns `None` for a type that it does not know.
    return parameter.type_name.value if parameter.type_name else "STRING"


def _type_text(parameter: "FunctionParameterInfo") -> str:
    """The type as the catalog spells it. It is the only foreign text inside a statement, so it is checked."""
    if not _TYPE.fullmatch(parameter.type_text):
        raise ToolFailed(f"the type of the parameter {parameter.name} is not supported; use a simpler type")
    return parameter.type_text


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)

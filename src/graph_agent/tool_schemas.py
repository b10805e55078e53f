"""The JSON schema of a tool's arguments, as its model sees it."""

from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool


def schema_of(tool: BaseTool) -> dict[str, Any] | None:
    """The schema, without what the graph itself puts in. `None` if the tool's types have none."""
    try:
        parameters = convert_to_openai_tool(tool)["function"]["parameters"]
    except Exception:  # noqa: BLE001 - the types of a tool are its author's, and a person can decide without a schema
        return None
    return parameters if isinstance(parameters, dict) else None

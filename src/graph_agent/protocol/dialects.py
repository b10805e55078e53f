"""What differs between the addresses; everything else on the wire is one grammar."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one family of clients wants tool calls and failures written."""

    tool_items: Literal["function_call", "mcp_call"]
    """MLflow and Databricks clients want call and output as two items; OpenAI's read `function_call` as a request
    to run the tool themselves, and know a server-run tool as `mcp_call`."""

    failure: Literal["failed", "error_frame"]
    """`error` and `response.failed`, or the one frame whose `error` is a string that the stock chat page prints."""


INVOCATIONS = Dialect(tool_items="function_call", failure="error_frame")
RESPONSES = Dialect(tool_items="function_call", failure="failed")
OPENAI = Dialect(tool_items="mcp_call", failure="failed")

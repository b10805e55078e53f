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

    any_model: bool
    """A `model` that no graph is called means the default graph: the stock chat page always sends `chat-model`, and
    gateways send what they are configured with."""

    open_responses: bool
    """As the Open Responses specification has it: `event:` lines, and `usage` is null until it is known. Databricks'
    accumulators break on that null; there it is absent."""

    budget_sentence: Literal["text", "details"]
    """Where a run that was ended early says why: at the end of its text, or in `incomplete_details.message`, as an
    agent that reads the text would take the sentence for the answer."""


INVOCATIONS = Dialect(
    tool_items="function_call",
    failure="error_frame",
    any_model=True,
    open_responses=False,
    budget_sentence="text",
)
RESPONSES = Dialect(
    tool_items="function_call",
    failure="failed",
    any_model=True,
    open_responses=False,
    budget_sentence="text",
)
OPENAI = Dialect(
    tool_items="mcp_call",
    failure="failed",
    any_model=False,
    open_responses=True,
    budget_sentence="details",
)

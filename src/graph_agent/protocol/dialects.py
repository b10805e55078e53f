"""The differences between the addresses. Everything else on the wire is the same."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one family of clients expects tool calls and failures."""

    tool_items: Literal["function_call", "mcp_call"]
    """MLflow and Databricks clients expect call and output as two items. OpenAI clients take a `function_call` as a
    request to run the tool themselves; a tool that the server ran is an `mcp_call` for them."""

    failure: Literal["failed", "error_frame"]
    """`error` and `response.failed`, or the one frame whose `error` is a string that the stock chat page prints."""

    any_model: bool
    """A `model` that is not a graph's name means the default graph. The stock chat page always sends `chat-model`, and
    gateways send what they are configured with."""

    open_responses: bool
    """As the Open Responses specification has it: `event:` lines, and `usage` is null until it is known. Databricks'
    accumulators break on that null; there it is absent."""

    family: Literal["databricks", "openai"]
    """Which addresses read a stored response. Its form depends on the address that made it."""

    stores: bool
    """Whether responses are stored unless the request says otherwise. `/invocations` stores only if the request names a
    conversation, because its clients expect that nothing is kept."""

    budget_sentence: Literal["text", "details"]
    """Where a run that was ended early says why: at the end of its text, or in `incomplete_details.message`, because
    an agent that reads the text would take the sentence as part of the answer."""

    rejoined: bool
    """Whether a reader that has left may come back to the stream of a stored response. If not, the run ends with its
    last reader: to a client of AG-UI, leaving means to stop it."""


INVOCATIONS = Dialect(
    tool_items="function_call",
    failure="error_frame",
    any_model=True,
    open_responses=False,
    family="databricks",
    stores=False,
    budget_sentence="text",
    rejoined=True,
)
RESPONSES = replace(INVOCATIONS, failure="failed", stores=True)
OPENAI = Dialect(
    tool_items="mcp_call",
    failure="failed",
    any_model=False,
    open_responses=True,
    family="openai",
    stores=True,
    budget_sentence="details",
    rejoined=True,
)

CHAT = replace(OPENAI, stores=False, budget_sentence="text", rejoined=False)
"""The events of which `chat_completions` makes chunks. They are never stored."""

AG_UI = replace(RESPONSES, any_model=False, rejoined=False)
"""The events of which `ag_ui_events` makes those of AG-UI."""

MCP = replace(CHAT, stores=True)
"""The events of runs that are calls of a tool of the MCP server."""

DIALECTS: Mapping[str, Dialect] = {
    "invocations": INVOCATIONS,
    "responses": RESPONSES,
    "openai": OPENAI,
    "ag_ui": AG_UI,
    "mcp": MCP,
}
"""By the names under which stores keep them."""


def name_of(dialect: Dialect) -> str:
    """The name of one of `DIALECTS`."""
    return next(name for name, one in DIALECTS.items() if one == dialect)

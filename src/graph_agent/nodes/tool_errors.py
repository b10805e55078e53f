"""The meaning of a failed call as text. A model does not see the status, and would take an error for an answer."""

from typing import Any

from langchain_core.tools import ToolException
from langgraph.prebuilt.tool_node import ToolInvocationError

from graph_agent.errors import RequestError, ToolFailed
from graph_agent.foreign_errors import is_argument_error
from graph_agent.redaction import redact

# Only what the model should say: a small model repeats what it is told not to say.
FAULT = (
    "This is a technical fault of the tool and not a result. Tell the user that this could not be looked up or done "
    "because of a technical fault."
)

TOOL_FAULT = "graph_agent_tool_fault"
"""Key in a tool message's `additional_kwargs`: the tool itself failed, and its arguments were not the reason."""

MISTAKE = "This is a mistake in the call and not a result: correct the arguments and call it again."


def tool_fault(error: Exception) -> str:
    """The text for the model when a tool raised, for LangGraph's `ToolNode(tools, handle_tool_errors=tool_fault)`.

    It is the same as in `make_tools`: the message of a `ToolException`, and only the type of any other exception.

    Raises:
        RequestError: `error` is one, such as a missing sign-in, without which no answer is possible.
    """
    # LangGraph wraps a `ValidationError`, whether it is of the arguments or raised inside the tool.
    raised = error.source if isinstance(error, ToolInvocationError) else error
    if isinstance(raised, RequestError):
        raise raised
    if isinstance(raised, ToolFailed):
        return redact(f"{raised.message}\n{FAULT}")
    if isinstance(raised, ToolException):
        return redact(str(raised))
    if is_argument_error(raised):
        return redact(f"The tool was called with wrong arguments: {wrong_arguments(raised)}.\n{MISTAKE}")
    return f"The tool failed ({type(raised).__name__}).\n{FAULT}"


def wrong_arguments(error: Any) -> str:
    """The arguments that a pydantic error names, with the schema's reason.

    The message of a validator that the tool defines is left out, as it may quote anything.
    """
    return ", ".join(
        (".".join(map(str, one["loc"])) or "arguments")
        + ("" if one["type"] in ("value_error", "assertion_error") else f" ({one['msg']})")
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    )

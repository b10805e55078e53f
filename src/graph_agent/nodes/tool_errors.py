"""What a failed call means, in words: a model sees no status, and would take an error for an answer."""

from typing import Any

from langchain_core.tools import ToolException
from langgraph.prebuilt.tool_node import ToolInvocationError

from graph_agent.errors import RequestError, ToolFailed
from graph_agent.foreign_errors import is_argument_error
from graph_agent.redaction import redact

# Only what is to be said: a small model repeats what it is told not to say.
FAULT = (
    "This is a technical fault of the tool and not a result. Tell the user that this could not be looked up or done "
    "because of a technical fault."
)

TOOL_FAULT = "graph_agent_tool_fault"
"""Key in a tool message's `additional_kwargs`: the tool itself failed, and neither its arguments nor what it found."""

MISTAKE = "This is a mistake in the call and not a result: correct the arguments and call it again."


def tool_fault(error: Exception) -> str:
    """What a model is told of a tool that raised, for `ToolNode(tools, handle_tool_errors=tool_fault)` of LangGraph.

    It is what `make_tools` tells: of a `ToolException` what it says, of any other its type alone.

    Raises:
        RequestError: `error` is one, such as a missing sign-in: no answer can be given without.
    """
    # LangGraph wraps what a tool raises as `ValidationError`, whichever of the two it is.
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
    """Which arguments a pydantic error names, and why where that is the schema's word: a validator of the tool's own
    may quote anything."""
    return ", ".join(
        (".".join(map(str, one["loc"])) or "arguments")
        + ("" if one["type"] in ("value_error", "assertion_error") else f" ({one['msg']})")
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    )

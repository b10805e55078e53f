"""Decides which items of a request are the assistant's, and which ones ask for an answer."""

from collections.abc import Iterable, Mapping
from typing import Any

from graph_agent.errors import InvalidRequest

Fields = Mapping[str, Any]

ANSWERED = ("function_call_output", "custom_tool_call_output", "mcp_approval_response")
"""Items that the graph can answer, as it can any message that is not the assistant's."""


def require_question(items: Iterable[Fields]) -> None:
    """Check that the graph has something to answer.

    Raises:
        InvalidRequest: no item asks for an answer.
    """
    if not any(map(asks, items)):
        raise InvalidRequest(
            "`input` leaves nothing to answer: add a user's message, a `function_call_output` "
            "or an `mcp_approval_response`.",
            param="input",
        )


def asks(item: Fields) -> bool:
    """Whether a graph can answer this item."""
    kind = item.get("type") or "message"
    return kind in ANSWERED or (kind == "message" and item["role"] != "assistant" and _says_something(item["content"]))


def is_of_assistant(item: Fields) -> bool:
    """Whether a response may have returned this item. Only a message says who wrote it."""
    if item["type"] == "message":
        return bool(item["role"] == "assistant")
    # The decision of a person, even if the client gives it the id of the request.
    return bool(item["type"] != "mcp_approval_response")


def _says_something(content: str | list[Fields]) -> bool:
    if isinstance(content, str):
        return bool(content) and not content.isspace()
    return any("text" not in part or _says_something(part["text"]) for part in content)

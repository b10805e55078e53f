"""Errors inside the answers of chat endpoints, and the problems that an answer can have."""

from collections.abc import Mapping
from typing import Any

from graph_agent.models.model_errors import InvalidModelAnswer

WEB_PAGE = "answered with a web page instead of a completion: check its address and any proxy in front of it"
UNREADABLE = "returned an answer that is not a chat completion: check that it is a chat endpoint, and check its logs"
NO_CHOICE = "returned an answer without choices: check that it is a chat endpoint, and check its logs"
ENDED_WITH_ERROR = "ended its answer with an error: check its logs, and try again"
TOO_LARGE = "returned an answer that is too large: ask for less"
ENDED_EARLY = "ended its answer early: try again"

STATUSES: Mapping[str, int] = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "context_length_exceeded": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "RESOURCE_EXHAUSTED": 429,
    "rate_limit_exceeded": 429,
    "INTERNAL_ERROR": 500,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""Error codes of Databricks, and two of OpenAI, with the matching HTTP statuses."""


def refuse_errors(frame: Mapping[str, Any]) -> None:
    """Check that an answer, or a frame of one, is not an error.

    Raises:
        InvalidModelAnswer: it is an error. The exception has the status that the error names.
    """
    error = frame.get("error")
    choices = frame.get("choices")
    if not error and isinstance(choices, list):
        failed = [one for one in choices if isinstance(one, Mapping) and _failed(one)]
        error = failed[0].get("error", True) if failed else None
    elif not error and "delta" not in frame and not isinstance(frame.get("messages"), list):
        # Databricks sends errors without an `error` field. An agent's answer may have the same fields.
        error = frame if any(frame.get(key) for key in ("error_code", "message", "detail")) else None
    if error:
        raise InvalidModelAnswer(ENDED_WITH_ERROR, status=_status_of(error) or _status_of(frame))


def _failed(choice: Mapping[str, Any]) -> bool:
    return bool(choice.get("error")) or choice.get("finish_reason") == "error"


def _status_of(error: Any) -> int | None:
    if not isinstance(error, Mapping):
        return None
    for key in ("error_code", "code", "status", "status_code", "http_status"):
        value = error.get(key)
        if isinstance(value, str) and value in STATUSES:
            return STATUSES[value]
        if isinstance(value, str) and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None

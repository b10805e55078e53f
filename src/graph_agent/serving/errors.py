"""Errors as HTTP answers, and whether a client should send the request again."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from graph_agent.errors import AgentError, BodyTooSlow, LimitReached, RunCancelled, Unauthenticated
from graph_agent.protocol.events import new_id
from graph_agent.redaction import redact_value
from graph_agent.runs.log_context import add_log_facts

RETRY_LATER = frozenset({429, 503})
"""The statuses with which the same request may succeed later."""

RETRY_AFTER_SECONDS = 5
"""The wait that a client is asked for when the error has none."""

LONGEST_RETRY_SECONDS = 60
"""The longest wait after which the OpenAI SDKs send a request again."""

NO_RESPONSE_STATUS = 499
"""nginx's status for a client that has left. Only the log shows it."""


def error_response(error: AgentError, *, request_id: str | None = None, ran: bool = False) -> Response:
    """The answer for an error, when nothing of an answer was sent yet.

    `request_id` is the id by which the log knows the request, if it has one. `ran` says that a run had begun.
    """
    # For the log line of the request and the metrics, which see only the status of an answer.
    add_log_facts(code=error.code)
    if isinstance(error, RunCancelled):
        return Response(status_code=NO_RESPONSE_STATUS)
    headers = {"x-request-id": request_id or new_id("req"), **retry_headers(error, ran=ran)}
    if isinstance(error, BodyTooSlow):
        # Otherwise the server would read the rest of the body, however long it takes.
        headers["connection"] = "close"
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(redact_value(error.body()), status_code=error.status, headers=headers)


def ratelimit_headers(figures: Mapping[str, str]) -> dict[str, str]:
    """The headers that say what is left of the limits for people, as those of OpenAI's API."""
    return {f"x-ratelimit-{name}": value for name, value in figures.items()}


def retry_headers(error: AgentError, *, ran: bool = False) -> dict[str, str]:
    """The headers that say whether and when a client should send the request again.

    Without them the OpenAI SDKs retry every server error twice. A failed run may have called tools, which must not be
    called again without the caller's decision. An error without a run, such as a wrong configuration, fails again.
    """
    headers = {}
    if ran or (error.status >= 500 and error.status not in RETRY_LATER):
        headers["x-should-retry"] = "false"
    if error.status in RETRY_LATER:
        headers["retry-after"] = str(error.retry_after or RETRY_AFTER_SECONDS)
    if isinstance(error, LimitReached):
        headers |= ratelimit_headers(error.ratelimits)
        if error.retry_after is not None and error.retry_after > LONGEST_RETRY_SECONDS:
            # The SDKs do not wait that long, and would try again at once.
            headers["x-should-retry"] = "false"
    return headers

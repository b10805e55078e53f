"""Errors as HTTP answers, and whether a client should send the request again."""

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from graph_agent.errors import (
    AgentError,
    BodyTooSlow,
    RunCancelled,
    Unauthenticated,
)
from graph_agent.protocol.events import new_id
from graph_agent.redaction import redact_value

if TYPE_CHECKING:
    pass

RETRY_LATER = frozenset({429, 503})
"""What says that the same request may succeed later."""

RETRY_AFTER_SECONDS = 5
"""When, unless the error knows."""

NO_RESPONSE_STATUS = 499
"""What nginx logs when the client has left; nobody reads it."""


def error_response(error: AgentError, *, request_id: str | None = None, ran: bool = False) -> Response:
    """An error before the first byte; `request_id` where the log knows it by one, `ran` if a run had begun."""
    if isinstance(error, RunCancelled):
        return Response(status_code=NO_RESPONSE_STATUS)
    headers = {"x-request-id": request_id or new_id("req"), **retry_headers(error, ran=ran)}
    if isinstance(error, BodyTooSlow):
        # Else the rest of the body would be read, however long it takes.
        headers["connection"] = "close"
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(redact_value(error.body()), status_code=error.status, headers=headers)


def retry_headers(error: AgentError, *, ran: bool = False) -> dict[str, str]:
    """What an error tells the SDKs about sending the request again: they would by themselves, twice, whatever went
    wrong. A run that failed may have called tools, and what fails without one fails again."""
    headers = {}
    if ran or (error.status >= 500 and error.status not in RETRY_LATER):
        headers["x-should-retry"] = "false"
    if error.status in RETRY_LATER:
        headers["retry-after"] = str(error.retry_after or RETRY_AFTER_SECONDS)
    return headers

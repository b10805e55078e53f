"""Exceptions of the index and embedding clients as errors that say what to change.

The clients' own messages are never quoted, as they contain request and response bodies.
"""

import json
import re
from dataclasses import dataclass

from graph_agent.databricks.clients import Actor
from graph_agent.errors import RetrievalFailed, Unauthenticated

LOCAL_INDEXES = re.compile(r"There are: [\w., -]{1,5000}\. To make one: graph-agent index --name [\w.-]{1,300} PATH")
"""The local workspace's message for a missing index. It consists of names and spaces only, so it may be shown."""

BUSY = frozenset({429, 503, 504})


@dataclass(frozen=True, slots=True)
class Service:
    """The service that was called, the grant it needs, and the identity it was called with."""

    what: str
    grant: str
    acting_as: Actor

    @property
    def who(self) -> str:
        """The identity as an error message names it."""
        return "the calling user" if self.acting_as == "user" else "the app's service principal"


def search_error(error: Exception, called: Service) -> RetrievalFailed | Unauthenticated:
    """The typed error for an exception of a client. A rejected user token is an error that the user can fix."""
    if called.acting_as == "user" and status_of(error) == 401:
        return Unauthenticated(f"{called.what} did not accept the user's token: sign in again and repeat the request")
    return RetrievalFailed(_message(error, called))


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an exception of the index client or the SDK; `None` without a response."""
    from databricks.sdk import errors as sdk
    from databricks.sdk.errors.base import DatabricksError
    from requests.exceptions import RetryError

    if isinstance(error, RetryError):
        # The client gave up after 429, 503 or 504, and its exception does not say which.
        return 503
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status
    # The SDK's exceptions have types in place of statuses. The base class is last, as it matches all of them.
    kinds = {
        sdk.BadRequest: 400,
        sdk.Unauthenticated: 401,
        sdk.PermissionDenied: 403,
        sdk.NotFound: 404,
        sdk.TooManyRequests: 429,
        sdk.TemporarilyUnavailable: 503,
        DatabricksError: 500,
    }
    return next((number for kind, number in kinds.items() if isinstance(error, kind)), None)


def _message(error: Exception, called: Service) -> str:
    what, who = called.what, called.who
    match status_of(error):
        case 400:
            return f"{what} refused the query: check the columns, filters and query type of the search (400)"
        case 401:
            return f"{what} did not accept the app's credentials: check DATABRICKS_CLIENT_ID and its secret (401)"
        case 403 if called.acting_as == "user":
            return f"{who} may not use {what}: grant them {called.grant}, and give the app the user scope for it (403)"
        case 403:
            return f"{who} may not use {what}: grant it {called.grant} (403)"
        case 404 if local := LOCAL_INDEXES.search(str(error)[:5000]):
            return f"{what} does not exist. {local.group()}"
        case 404:
            return f"{what} does not exist, or {who} may not see it: check its name (404)"
        case status if status in BUSY:
            return f"{what} is overloaded or not running, also after retries: try again later ({_busy(error)})"
        case int(status):
            return f"{what} failed: look at its state in the workspace ({status})"
        case _:
            return _unanswered(error, what)


def _busy(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    return str(status) if isinstance(status, int) else "429 or 503"


def _unanswered(error: Exception, what: str) -> str:
    import httpx
    import requests

    if isinstance(error, (requests.exceptions.ChunkedEncodingError, httpx.RemoteProtocolError, httpx.ReadError)):
        return f"{what} ended its answer early: try again ({type(error).__name__})"
    if isinstance(error, (requests.exceptions.ConnectionError, httpx.TransportError, ConnectionError, TimeoutError)):
        return f"{what} cannot be reached: check DATABRICKS_HOST and the network ({type(error).__name__})"
    if isinstance(error, (json.JSONDecodeError, LookupError, AttributeError)):
        return f"{what} returned an answer that cannot be read: try again ({type(error).__name__})"
    return f"{what} could not be called ({type(error).__name__})"

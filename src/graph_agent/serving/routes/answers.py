"""The ASGI endpoint of an address. It turns every exception of a route into a typed answer."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.json_encoding import encode
from graph_agent.serving.errors import error_response

logger = logging.getLogger(__name__)

FAILED = "the service failed; its log has the place"

Answering = Callable[[Request], Awaitable[ASGIApp]]
"""Answers a request, or raises an `AgentError`."""


async def response_or_error(response: Awaitable[ASGIApp]) -> ASGIApp:
    """The response, or the error answer for what preparing it raised.

    An exception of foreign code is answered as `internal_error`. The log gets its type and place, never its message.
    """
    try:
        return await response
    except AgentError as error:
        return error_response(error)
    except Exception as error:  # noqa: BLE001 - the server would log the message, which may hold secrets
        logger.error("request failed: %s", describe_error(error))
        return error_response(AgentError(FAILED))


class Endpoint:
    """The methods of one address. A class, because Starlette passes the raw `receive` only to ASGI endpoints, and
    `receive` reports when the client leaves."""

    def __init__(self, methods: dict[str, Answering]) -> None:
        self.methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette answers HEAD where there is GET.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        response = await response_or_error(self.methods[method](Request(scope, receive)))
        await response(scope, receive, send)


def route(path: str, **methods: Answering) -> Route:
    """The route of an address: `route("/things/{id}", GET=read, DELETE=delete)`."""
    return Route(path, Endpoint(methods), methods=list(methods))


def json_answer(body: Any, *, status: int = 200) -> Response:
    """The answer with a JSON body."""
    return Response(encode(body), status_code=status, media_type="application/json")

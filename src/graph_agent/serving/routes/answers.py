"""Turns every exception of a route into a typed answer."""

import logging
from collections.abc import Awaitable

from starlette.types import ASGIApp

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error
from graph_agent.serving.errors import error_response

logger = logging.getLogger(__name__)

FAILED = "the service failed; its log has the place"


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

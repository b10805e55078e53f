"""The WebSocket at `/v1/responses`: the Responses API over one connection."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from graph_agent.errors import (
    AgentError,
    InvalidRequest,
    PreviousResponseNotFound,
    SocketExpired,
    TooManyQueued,
    TooManySockets,
)
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol import wire_schemas
from graph_agent.protocol.dialects import OPENAI
from graph_agent.protocol.socket_messages import CREATE_SCHEMA, error_schema
from graph_agent.protocol.steer_fields import STEER_EVENTS, STEER_SCHEMA
from graph_agent.protocol.wire_schemas import any_of
from graph_agent.runs.connection_memory import ConnectionMemories
from graph_agent.serving.handshakes import refuse_handshake
from graph_agent.serving.idempotency_key import HEADER
from graph_agent.serving.identity import Identity
from graph_agent.serving.limits import Bodies
from graph_agent.serving.mounting import path_of
from graph_agent.serving.open_sockets import OpenSockets
from graph_agent.serving.operations import Errors
from graph_agent.serving.routes.answers import FAILED, logger
from graph_agent.serving.routes.responses import ERRORS as RUN_ERRORS
from graph_agent.serving.socket_session import SocketLimits, SocketSession
from graph_agent.serving.socket_turns import Asking, SocketTurns
from graph_agent.serving.socket_writer import TOGETHER
from graph_agent.serving.trace_reply import HEADER as TRACE_HEADER
from graph_agent.serving.unsupported import WEBSOCKET

SAYS = (
    "Open a WebSocket, and send `response.create` for each response. The events of a response are those of its stream "
    "over HTTP, each in a message of its own. A response that cannot begin is one message, `errorMessage`. Responses "
    "follow one after the other."
)

ERRORS: Errors = (*RUN_ERRORS, PreviousResponseNotFound, TooManyQueued, TooManySockets, SocketExpired)
"""Why a message has no response, or a handshake is refused."""


def description() -> Mapping[str, Any]:
    """The WebSocket as the description of the API tells it, in the form of the Open Responses specification."""
    return {
        "description": SAYS,
        "clientMessage": any_of("SocketMessage", CREATE_SCHEMA, STEER_SCHEMA, says="A message of the client."),
        "serverMessage": any_of(
            "SocketEvent",
            wire_schemas.event(OPENAI),
            *STEER_EVENTS,
            says="An event of a response, or what is said about steers.",
        ),
        "errorMessage": error_schema({kind.code for kind in ERRORS}),
    }


class SocketRoutes:
    """Accepts WebSockets."""

    def __init__(
        self,
        *,
        identity: Identity,
        turns: SocketTurns,
        memories: ConnectionMemories,
        bodies: Bodies,
        limits: SocketLimits,
        sockets: OpenSockets,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """`failed` is called with the code of each error with which a message is answered."""
        self._identity = identity
        self._turns = turns
        self._memories = memories
        self._bodies = bodies
        self._limits = limits
        self._sockets = sockets
        self._failed = failed

    def routes(self) -> list[WebSocketRoute]:
        """The routes of the app."""
        return [WebSocketRoute(WEBSOCKET, _Endpoint(self))]

    async def opened(self, scope: Scope, receive: Receive, send: Send) -> SocketSession:
        """The session of a new connection.

        Raises:
            AgentError: the handshake is refused.
        """
        headers = Headers(scope=scope)
        self._sockets.require_free()
        for name in (HEADER, TRACE_HEADER):
            if name in headers:
                raise InvalidRequest(f"The header `{name}` has no place in a handshake; leave it out.", param=name)
        caller = await self._identity.caller(headers)
        # Again in each turn, because a token may expire meanwhile.
        self._identity.token(headers)
        return SocketSession(
            asking=Asking(caller=caller, headers=headers, memory=self._memories.of(caller)),
            turns=self._turns,
            bodies=self._bodies,
            limits=self._limits,
            receive=receive,
            send=send,
            path=path_of(scope),
            together=TOGETHER in scope.get("extensions", {}),
            failed=self._failed,
        )

    async def keep(self, session: SocketSession) -> None:
        """Run the session of a connection that was accepted."""
        await self._sockets.keep(session, session.run())


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """The ASGI endpoint. A class, because Starlette wraps a function in an object of its own."""

    routes: SocketRoutes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            session = await self.routes.opened(scope, receive, send)
        except AgentError as error:
            await refuse_handshake(error, scope, receive, send)
            return
        except Exception as error:  # noqa: BLE001 - the server would log the message, which may hold secrets
            logger.error("handshake failed: %s", describe_error(error))
            await refuse_handshake(AgentError(FAILED), scope, receive, send)
            return
        await send({"type": "websocket.accept"})
        await self.routes.keep(session)

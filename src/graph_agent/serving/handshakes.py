"""Answers for WebSocket handshakes that are refused."""

from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import AgentError
from graph_agent.serving.errors import error_response

POLICY = 1008
"""The closing code of RFC 6455 for a message, or here a handshake, that breaks a rule of the server."""


def refusal(error: AgentError) -> ASGIApp:
    """The answer of a middleware that refuses a request or a handshake."""
    answer = error_response(error)

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await answer(scope, receive, send)
            return
        # The ASGI server sends `websocket.connect` first, and accepts no answer before it was read.
        await receive()
        await refuse_handshake(error, scope, receive, send)

    return refuse


async def refuse_handshake(error: AgentError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a handshake, of which `websocket.connect` was read, like the HTTP request that it is."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await error_response(error)(scope, receive, send)
    else:
        # A server without that extension answers 403.
        await send({"type": "websocket.close", "code": POLICY})

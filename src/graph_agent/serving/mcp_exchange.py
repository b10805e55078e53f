"""One message of an MCP client, and what the server sends for it.

It imports the MCP SDK, which takes a second, so the route imports it at the first message. Each message has a transport
and a session of its own: the server keeps nothing between messages. So everything that a message has begun ends with
its connection.

The SDK's `Server` is not used. While a handler runs, it replaces the warning filters of the whole process, and it sends
the text of any exception to the client.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Protocol, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import types
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.shared.message import SessionMessage
from mcp.shared.session import RequestResponder
from mcp.shared.version import SUPPORTED_PROTOCOL_VERSIONS
from mcp.types import DEFAULT_NEGOTIATED_VERSION
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from graph_agent.errors import AgentError, InvalidRequest
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.json_encoding import encode
from graph_agent.protocol.mcp_tools import RESULT, OfferedTool, ToolResult, input_schema
from graph_agent.redaction import redact_value

logger = logging.getLogger(__name__)

FAILED = "the service failed; its log has the place"

INSTRUCTIONS = "Each tool asks one agent of this service. A result has the id of a conversation, with which to go on."

VERSION = "MCP-Protocol-Version"

CALL = "tools/call"
"""The method that calls a tool."""

TAKEN = ("application/json", "text/event-stream")
"""The kinds of answers that a client must take."""

MOST_BESIDE_ARGUMENTS = 65_536
"""Bytes of a message without the arguments of its call."""

Progress = Callable[[str], Awaitable[None]]
"""Tells the client what the run does now."""

Responder = RequestResponder[types.ClientRequest, types.ServerResult]


class Offer(Protocol):
    """What the server offers to one caller."""

    @property
    def tools(self) -> Sequence[OfferedTool]:
        """The tools, in order."""

    async def call(self, name: str, arguments: dict[str, Any], progress: Progress | None) -> ToolResult:
        """Call a tool. Cancelling this cancels its run.

        Raises:
            AgentError: the call is refused, or its run failed.
        """


def check_message(fields: Mapping[str, Any]) -> types.JSONRPCMessage:
    """The message of a client.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        message = types.JSONRPCMessage.model_validate(fields)
    except ValidationError:
        raise InvalidRequest("The body must be one JSON-RPC message of MCP, such as a request with `method`.") from None
    if not is_request(message) and {"id", "method"} <= fields.keys():
        # Its sender waits for an answer, which only a request gets.
        raise InvalidRequest("`id` must be a string or a whole number, and `params` an object.", param="id")
    return message


def light_fields(fields: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The message without the arguments of its call, and those arguments.

    The SDK reads a message several times on the event loop. Arguments may be large, and are checked elsewhere.

    Raises:
        InvalidRequest: the rest of the message is too large.
    """
    params = fields.get("params")
    arguments = params.get("arguments") if isinstance(params, Mapping) else None
    light = fields
    if isinstance(arguments, dict) and fields.get("method") == CALL:
        light = {**fields, "params": {**cast("Mapping[str, Any]", params), "arguments": {}}}
    else:
        arguments = {}
    if len(encode(light)) > MOST_BESIDE_ARGUMENTS:
        raise InvalidRequest(f"The message may have {MOST_BESIDE_ARGUMENTS} bytes beside `params.arguments`.")
    return light, arguments


def is_request(message: types.JSONRPCMessage) -> bool:
    """Whether the client waits for an answer."""
    return isinstance(message.root, types.JSONRPCRequest)


def cancelled_request(message: types.JSONRPCMessage) -> str | int | None:
    """The id of the request that a message cancels, or `None` if it cancels none."""
    told = message.root
    if not isinstance(told, types.JSONRPCNotification) or told.method != "notifications/cancelled":
        return None
    named = (told.params or {}).get("requestId")
    return named if isinstance(named, str | int) else None


def check_headers(headers: Headers) -> None:
    """Check what the client takes, and which version of MCP it speaks, as the transport does.

    Raises:
        InvalidRequest: it takes no streams, or speaks none of the versions that are served.
    """
    taken = [kind.strip() for kind in headers.get("accept", "").split(",")]
    if not all(any(one.startswith(kind) for one in taken) for kind in TAKEN):
        raise InvalidRequest("`Accept` must have application/json and text/event-stream.", param="Accept")
    spoken = headers.get(VERSION, DEFAULT_NEGOTIATED_VERSION)
    if spoken not in SUPPORTED_PROTOCOL_VERSIONS:
        known = ", ".join(SUPPORTED_PROTOCOL_VERSIONS)
        raise InvalidRequest(f"`{VERSION}` is not a version that this server speaks; it speaks {known}.", param=VERSION)


def refusal(message: types.JSONRPCMessage) -> types.JSONRPCError | None:
    """The error for a request that this version of MCP does not know, or whose parameters are wrong."""
    request = message.root
    if not isinstance(request, types.JSONRPCRequest):
        return None
    try:
        types.ClientRequest.model_validate(request.model_dump(by_alias=True, mode="json", exclude_none=True))
    except ValidationError:
        known = request.method in KNOWN
        error = types.ErrorData(
            code=types.INVALID_PARAMS if known else types.METHOD_NOT_FOUND,
            message="The parameters of this method are wrong" if known else "There is no such method",
        )
        return types.JSONRPCError(jsonrpc="2.0", id=request.id, error=error)
    return None


KNOWN = frozenset({"initialize", "ping", "tools/list", CALL})
"""The methods that are served."""


_VERSION_HEADER = VERSION.lower().encode()
_HEADERS = ((b"accept", ", ".join(TAKEN).encode()), (b"content-type", TAKEN[0].encode()))
_EMPTY_STREAM = ((b"content-type", TAKEN[1].encode()),)


class Exchange:
    """An ASGI app that answers one message, which was read and checked before."""

    def __init__(
        self, light: Mapping[str, Any], arguments: dict[str, Any], offer: Offer, cancelled: anyio.CancelScope
    ) -> None:
        """`light` and `arguments` are those of `light_fields`. Cancelling `cancelled` ends the exchange."""
        # The escapes of the standard library, because `encode` makes strings of integers beyond 64 bits.
        self._body = json.dumps(light).encode()
        self._arguments = arguments
        self._offer = offer
        self._cancelled = cancelled
        self._options = InitializationOptions(
            server_name="graph-agent",
            server_version=version("graph-agent"),
            capabilities=types.ServerCapabilities(tools=types.ToolsCapability(listChanged=False)),
            instructions=INSTRUCTIONS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = StreamableHTTPServerTransport(mcp_session_id=None)
        # The headers are checked. The transport has its own words for them, and is stricter in places.
        checked = {**scope, "headers": [*_HEADERS, *(one for one in scope["headers"] if one[0] == _VERSION_HEADER)]}
        begun = is_open = False

        async def sending(message: Message) -> None:
            nonlocal begun, is_open
            begun = True
            is_open = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        with self._cancelled:
            async with transport.connect() as (reading, writing), anyio.create_task_group() as serving:
                serving.start_soon(self._serve, reading, writing)
                await transport.handle_request(checked, self._again(receive), sending)
                # The client has left, or has its answer.
                serving.cancel_scope.cancel()
        if (is_open or not begun) and self._cancelled.cancelled_caught:
            # The protocol has no answer to a call that was cancelled: the stream ends without one.
            if not begun:
                await send({"type": "http.response.start", "status": 200, "headers": _EMPTY_STREAM})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _again(self, receive: Receive) -> Receive:
        """The body for the transport, and then what the client really does."""
        given = False

        async def received() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": self._body, "more_body": False}

        return received

    async def _serve(
        self,
        reading: MemoryObjectReceiveStream[SessionMessage | Exception],
        writing: MemoryObjectSendStream[SessionMessage],
    ) -> None:
        async with ServerSession(reading, writing, self._options, stateless=True) as session:
            async for message in session.incoming_messages:
                if isinstance(message, RequestResponder):
                    with message:
                        await message.respond(await self._result(session, message))

    async def _result(self, session: ServerSession, responder: Responder) -> types.ServerResult | types.ErrorData:
        match responder.request.root:
            case types.PingRequest():
                return types.ServerResult(types.EmptyResult())
            case types.ListToolsRequest():
                return types.ServerResult(types.ListToolsResult(tools=list(map(_tool, self._offer.tools))))
            case types.CallToolRequest(params=params):
                progress = _progress(session, responder)
                return types.ServerResult(await self._called(params.name, self._arguments, progress))
        return types.ErrorData(code=types.METHOD_NOT_FOUND, message="There is no such method")

    async def _called(self, name: str, arguments: dict[str, Any], progress: Progress | None) -> types.CallToolResult:
        try:
            result = await self._offer.call(name, arguments, progress)
        except AgentError as error:
            fields = redact_value(error.fields())
            return _failed(f"{fields['message']} ({fields['code']})")
        except Exception as error:  # noqa: BLE001 - the SDK would send the message, which may hold secrets
            logger.error("a tool call failed: %s", describe_error(error))
            return _failed(FAILED)
        return types.CallToolResult(content=[_text(result.text)], structuredContent=dict(result.structured))


def _progress(session: ServerSession, responder: Responder) -> Progress | None:
    """How the client is told what happens, if it asks for that."""
    meta = responder.request_meta
    token = None if meta is None else meta.progressToken
    if token is None:
        return None
    told = 0

    async def progress(message: str) -> None:
        nonlocal told
        told += 1
        await session.send_progress_notification(
            token, float(told), message=message, related_request_id=str(responder.request_id)
        )

    return progress


def _tool(one: OfferedTool) -> types.Tool:
    return types.Tool(
        name=one.name,
        title=one.title,
        description=one.description,
        inputSchema=input_schema(),
        outputSchema=dict(RESULT),
    )


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _failed(words: str) -> types.CallToolResult:
    return types.CallToolResult(content=[_text(words)], isError=True)

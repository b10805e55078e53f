"""The MCP server: each graph is a tool, over streamable HTTP without sessions."""

from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import with_user_token
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.field_checks import Schema
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.request_bodies import body_fields
from graph_agent.redaction import current_hidden_values
from graph_agent.runs.registry import Runs
from graph_agent.serving.gate import Gate
from graph_agent.serving.graph_tools import GraphTools
from graph_agent.serving.identity import Identity
from graph_agent.serving.operations import EVENTS, JSON, OF_BODY, OF_GRAPHS, OF_STORE, Answer, Answers, described
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.routes.answers import route
from graph_agent.serving.store_gate import StoreGate
from graph_agent.threads import run_in_service_thread

PATHS = ("/mcp", "/api/mcp")
"""On Databricks Apps a bearer token reaches only addresses below `/api/`."""

TAG = "MCP"

MESSAGE: Schema = {
    "title": "McpMessage",
    "description": "A JSON-RPC message of the Model Context Protocol.",
    "type": "object",
    "properties": {"jsonrpc": {"const": "2.0"}, "method": {"type": "string"}, "id": {}, "params": {"type": "object"}},
    "required": ["jsonrpc"],
}


def _answers(_: Dialect) -> Answers:
    return {
        200: Answer(
            "The stream of the answer, and of progress before it.", {EVENTS: MESSAGE, JSON: MESSAGE}, done=False
        ),
        202: Answer("The notification has arrived."),
    }


class McpRoutes:
    """Answers the messages of MCP clients. Nothing is kept between them but which calls are running."""

    def __init__(self, *, identity: Identity, gate: Gate, runs: Runs, store: StoreGate, posted: PostedJson) -> None:
        self._identity = identity
        self._gate = gate
        self._runs = runs
        self._store = store
        self._posted = posted
        self._calls: dict[tuple[str, ...], list[anyio.CancelScope]] = {}

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(path, POST=self.answer) for path in PATHS]

    @described(TAG, _answers, body=MESSAGE, errors=(*OF_STORE, *OF_GRAPHS, *OF_BODY))
    async def answer(self, request: Request) -> ASGIApp:
        """Answer one message of an MCP client. Each graph is a tool, and a call of it is a run.

        Raises:
            AgentError: the message is refused.
        """
        caller = await self._identity.caller(request.headers)
        token = self._identity.token(request.headers)
        with with_user_token(token):
            # The token must be known as a secret while the body is read: a caller may have pasted it into a message.
            read: dict[str, Any] = await self._posted.parsed(request, _read)
            service = await self._gate.passed()
            await service.catalog.refresh()
            sdk = await run_in_service_thread(_sdk)
            sdk.check_headers(request.headers)
            fields, arguments = sdk.light_fields(read)
            message = sdk.check_message(fields)
            if (refusal := sdk.refusal(message)) is not None:
                return Response(refusal.model_dump_json(by_alias=True, exclude_none=True), media_type=JSON)
            if not sdk.is_request(message):
                # Not for the SDK, which would log one that it does not know.
                if (cancelled := sdk.cancelled_request(message)) is not None:
                    self._cancel(_key(request, caller, cancelled))
                return Response(status_code=202)
            offer = GraphTools(
                runs=self._runs,
                store=self._store,
                service=service,
                caller=caller,
                token=token,
                hidden=current_hidden_values(),
            )
        scope = anyio.CancelScope()
        exchange: ASGIApp = sdk.Exchange(fields, arguments, offer, scope)
        if fields["method"] != sdk.CALL:
            return exchange
        return _Cancellable(exchange, self._calls, _key(request, caller, fields["id"]), scope)

    def _cancel(self, key: tuple[str, ...]) -> None:
        running = self._calls.get(key, ())
        # Without sessions, two programs of one caller may have used one id. Neither must stop the run of the other.
        if len(running) == 1:
            running[0].cancel()


def _key(request: Request, caller: Caller, request_id: Any) -> tuple[str, ...]:
    """What a call and the notification that cancels it have in common."""
    host = request.client.host if request.client is not None else ""
    return caller.kind, caller.user, host, request.headers.get("user-agent", ""), repr(request_id)


class _Cancellable:
    """An exchange that a later message may cancel."""

    def __init__(
        self,
        exchange: ASGIApp,
        calls: dict[tuple[str, ...], list[anyio.CancelScope]],
        key: tuple[str, ...],
        scope: anyio.CancelScope,
    ) -> None:
        self._exchange, self._calls, self._key, self._cancelled = exchange, calls, key, scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        running = self._calls.setdefault(self._key, [])
        running.append(self._cancelled)
        try:
            await self._exchange(scope, receive, send)
        finally:
            running.remove(self._cancelled)
            if not running:
                self._calls.pop(self._key, None)


def _read(body: bytes, *, pulse: Pulse = no_pulse) -> dict[str, Any]:
    return body_fields(body, pulse)


def _sdk() -> Any:
    # Late: the MCP SDK takes a second, which a service that gets no such message does not need.
    with IMPORT_LOCK:
        from graph_agent.serving import mcp_exchange
    return mcp_exchange

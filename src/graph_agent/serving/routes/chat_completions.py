"""The route of Chat Completions: starts a run that is not stored, and tells it in that API's form."""

import time
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from graph_agent.errors import (
    AgentError,
    GraphNotLoaded,
    LimitReached,
    RequestError,
    RunError,
    UnknownGraph,
    UnsupportedField,
)
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol import chat_schemas
from graph_agent.protocol.chat_completions import TOLD, ChunkWriter, completion_of
from graph_agent.protocol.chat_fields import CHAT, in_chat_terms
from graph_agent.protocol.dialects import CHAT as DIALECT
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.field_checks import fields_schema
from graph_agent.protocol.json_encoding import encode
from graph_agent.redaction import current_hidden_values
from graph_agent.runs.log_context import current_log_facts
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.serving.errors import NO_RESPONSE_STATUS, error_response
from graph_agent.serving.gate import Gate
from graph_agent.serving.idempotency_key import HEADER as KEY
from graph_agent.serving.identity import Identity
from graph_agent.serving.limits import Bodies
from graph_agent.serving.operations import (
    EVENTS,
    JSON,
    OF_BODY,
    OF_CALLER,
    OF_GRAPHS,
    REQUEST_ID,
    Answer,
    Answers,
    Parameter,
    described,
    every,
)
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.reading_in_slot import read_in_slot
from graph_agent.serving.rewritten_frames import RewrittenFrames
from graph_agent.serving.routes.answers import route
from graph_agent.serving.routes.responses import HOST_SECONDS, RATELIMITS, TAG, WARNINGS, headers_of
from graph_agent.serving.sse import LATE_READER_SECONDS, EventStreamResponse
from graph_agent.serving.trace_reply import HEADER as TRACE_HEADER
from graph_agent.serving.trace_reply import TraceReply
from graph_agent.serving.whole_replies import whole_reply
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from graph_agent.protocol.chat_requests import ChatRequest
    from graph_agent.runs.run import Run
    from graph_agent.tracing import RunTrace

PATHS = ("/v1/chat/completions", "/chat/completions", "/api/chat/completions")
"""On Databricks Apps a bearer token reaches only addresses below `/api/`."""


def _answers(_: Dialect) -> Answers:
    headers = {
        REQUEST_ID: "The id under which the log has the run.",
        WARNINGS: "What of the request has no effect.",
        **RATELIMITS,
    }
    content = {JSON: chat_schemas.COMPLETION, EVENTS: chat_schemas.FRAME}
    return {200: Answer("The chat completion, or the stream of its chunks.", content, headers)}


class ChatCompletionRoutes:
    """Starts a run for each request and answers with its chat completion."""

    def __init__(
        self,
        *,
        settings: Settings,
        identity: Identity,
        gate: Gate,
        runs: Runs,
        bodies: Bodies,
        posted: PostedJson,
        reply_seconds: float | None = None,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._gate = gate
        self._runs = runs
        self._bodies = bodies
        self._posted = posted
        self._reply_seconds = reply_seconds

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(path, POST=self.run) for path in PATHS]

    @described(
        TAG,
        _answers,
        body={"title": "NewChatCompletion", **fields_schema(CHAT)},
        parameters=(
            Parameter(TRACE_HEADER, {"type": "string"}, "`true`: the answer says the id of the trace.", "header"),
        ),
        errors=(
            *(*OF_CALLER, *OF_GRAPHS, *OF_BODY, UnsupportedField, UnknownGraph, GraphNotLoaded, LimitReached),
            *every(RunError),
        ),
    )
    async def run(self, request: Request) -> ASGIApp:
        """Start a run and answer with its chat completion, as a stream of chunks or whole.

        Raises:
            AgentError: the request is refused or the run cannot start.
        """
        began = time.monotonic()
        self._posted.check_declared(request)
        if request.headers.get(KEY) is not None:
            raise UnsupportedField(
                f"`{KEY}` is not supported: a key finds a stored response, and chat completions are not stored. Leave "
                "it out, or POST to /v1/responses.",
                param=KEY,
            )
        caller = await self._identity.caller(request.headers)
        token = self._identity.token(request.headers)
        with with_user_token(token):
            # The token must be known as a secret while the body is read: a caller may have pasted it into a message.
            asked, run, trace = await self._started(request, caller, token, began)
        trace_reply = TraceReply.asked(trace, run, headers=request.headers)
        if run.request.invocation.mode == "stream":
            return self._stream(asked, run, trace_reply)
        return await self._reply(asked, run, request, trace_reply)

    async def _started(
        self, request: Request, caller: Caller, token: UserToken | None, began: float
    ) -> "tuple[ChatRequest, Run, RunTrace | None]":
        """Read the request and start its run, as for a response that is not stored."""
        async with read_in_slot(
            request,
            bodies=self._bodies,
            gate=self._gate,
            runs=self._runs,
            parse=lambda service: service.parse_chat,
        ) as (service, asked, slot):
            whole = asked.invocation.mode == "reply" and self._reply_seconds is not None
            scope = Scope(
                app=service.app,
                token=token,
                hidden=current_hidden_values(),
                facts=current_log_facts(),
                # The proxy's time limit for a whole answer began with the request, not with the run.
                ends_by=began + (self._reply_seconds or 0) if whole else None,
            )
            trace = None if service.tracer is None else service.tracer.trace()
            of_run = RunRequest(invocation=asked.invocation, dialect=DIALECT, owner=caller, accepted_at=time.time())
            observers = service.observers(trace)
            try:
                run = await self._runs.start(of_run, scope, graphs=service.catalog, observers=observers, slot=slot)
            except RequestError as error:
                # What the graph does not take.
                raise in_chat_terms(error) from None
            return asked, run, trace

    def _stream(self, asked: "ChatRequest", run: "Run", trace_reply: TraceReply) -> EventStreamResponse:
        quiet = self._settings.keepalive_seconds
        writer = ChunkWriter(include_usage=asked.include_usage, reasoning=asked.reasoning, logprobs=asked.logprobs)
        response = EventStreamResponse(
            self._runs.read(run, quiet_seconds=quiet),
            headers=headers_of(run.id, run.request, run.standing),
            trailers=trace_reply.frames,
            written=RewrittenFrames(writer.chunks, told=TOLD, quiet_seconds=quiet),
            write_seconds=self._settings.write_seconds + HOST_SECONDS,
        )
        run.when_over(lambda: response.end_within(LATE_READER_SECONDS))
        return response

    async def _reply(self, asked: "ChatRequest", run: "Run", request: Request, trace_reply: TraceReply) -> Response:
        try:
            response = await whole_reply(run, self._runs.read(run), request.receive, trace_reply)
        except AgentError as error:
            return error_response(in_chat_terms(error), request_id=run.id, ran=True)
        if response is None:
            return Response(status_code=NO_RESPONSE_STATUS)
        completion = completion_of(response, reasoning=asked.reasoning, logprobs=asked.logprobs)
        return Response(encode(completion), media_type=JSON, headers=headers_of(run.id, run.request, run.standing))

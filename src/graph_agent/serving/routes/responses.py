"""The routes that start a run and answer with its stream or its whole response."""

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from graph_agent.app_context import AppContext
from graph_agent.errors import (
    AgentError,
    ApprovalAnswered,
    ApprovalNotFound,
    ConversationBusy,
    ConversationNotFound,
    EventLogExpired,
    GraphNotLoaded,
    IdempotencyKeyUsed,
    InvalidEncryptedContent,
    ItemNotFound,
    LimitReached,
    OtherAddress,
    ResponseNotFound,
    RunError,
    UnknownGraph,
    UnsupportedField,
)
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol import wire_schemas
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES, Dialect, name_of
from graph_agent.protocol.field_checks import Schema, fields_schema
from graph_agent.protocol.json_encoding import encode
from graph_agent.protocol.request_fields import RUN
from graph_agent.protocol.unsupported import why_refused
from graph_agent.protocol.wire_schemas import STRING
from graph_agent.redaction import current_hidden_values
from graph_agent.runs.joining import Joining
from graph_agent.runs.log_context import current_log_facts
from graph_agent.runs.reached_limits import ratelimits
from graph_agent.runs.registry import Reader, Runs
from graph_agent.runs.repeats import BegunBefore, Repeats
from graph_agent.runs.request import RunRequest
from graph_agent.runs.request import Scope as RunScope
from graph_agent.runs.slots import Slot
from graph_agent.serving.body_parsing import parse_body
from graph_agent.serving.errors import NO_RESPONSE_STATUS, error_response, ratelimit_headers
from graph_agent.serving.gate import Gate
from graph_agent.serving.idempotency_key import HEADER, LONGEST, idempotency_key
from graph_agent.serving.identity import Identity
from graph_agent.serving.leaving import unless_left
from graph_agent.serving.limits import MOST_PARSED_HERE, Bodies
from graph_agent.serving.operations import (
    EVENTS,
    JSON,
    OF_BODY,
    OF_GRAPHS,
    OF_STORE,
    REQUEST_ID,
    Answer,
    Answers,
    Parameter,
    described,
    every,
)
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.preferences import APPLIED, respond_async
from graph_agent.serving.routes.answers import route
from graph_agent.serving.routes.not_found import missing_things_named
from graph_agent.serving.routes.repeated import Begun, RepeatedAnswers
from graph_agent.serving.sse import LATE_READER_SECONDS, EventStreamResponse
from graph_agent.serving.store_gate import StoreGate
from graph_agent.serving.trace_reply import HEADER as TRACE_HEADER
from graph_agent.serving.trace_reply import TraceReply
from graph_agent.serving.whole_replies import whole_reply
from graph_agent.settings import Settings
from graph_agent.stores.usage_records import Standing

if TYPE_CHECKING:
    from graph_agent.protocol.requests import Invocation
    from graph_agent.runs.run import Run
    from graph_agent.runs.submitting import Submission
    from graph_agent.serving.service import Service
    from graph_agent.tracing import RunTrace


ADDRESSES: Mapping[str, Dialect] = {
    "/invocations": INVOCATIONS,
    "/api/invocations": INVOCATIONS,
    "/responses": RESPONSES,
    "/api/responses": RESPONSES,
    "/v1/responses": OPENAI,
}
"""The dialect of each address. On Databricks Apps a bearer token can call only addresses below `/api/`, according to
the Databricks documentation, so each address exists with and without that prefix."""

HOST_SECONDS = 1.0
"""How much later than our own server a route disconnects a client that reads nothing. Our own server sees single bytes
being read, so it should decide first. A host's server does not disconnect such a client."""

BEGIN_SECONDS = 0.1
"""How long the stream of a queued run waits for the run to begin in this process, before it reads from the store."""

REPLY_SECONDS = 110.0
"""How long a caller that prefers `respond-async` waits, unless the setting for replies says otherwise. The proxy of
Databricks Apps answers 504 after 120 s, and many others are not more patient."""

WARNINGS = "x-graph-agent-warnings"
"""The header that says what of a request has no effect. The response says it too, in `custom_outputs.warnings`."""

LONGEST_WARNINGS = 1_000
"""Characters of that header."""

LEFT = "the caller left before the run began"

TAG = "Runs"

PARAMETERS = (
    Parameter(
        HEADER,
        {"type": "string", "minLength": 1, "maxLength": LONGEST},
        "The same request with the same key finds the run that exists.",
        "header",
    ),
    Parameter("Prefer", STRING, f"`{APPLIED}, wait=60`: an answer that takes longer comes later.", "header"),
    Parameter(TRACE_HEADER, STRING, "`true`: the answer says the id of the trace.", "header"),
)


RATELIMITS: Mapping[str, str] = {
    f"x-ratelimit-{figure}-{unit}": f"{words} of the {unit} that the operator allows."
    for unit in ("requests", "tokens")
    for figure, words in (("limit", "The limit"), ("remaining", "What is left"), ("reset", "When it resets, as `37s`,"))
}
"""The headers of an answer if there are limits for people. OpenAI's API has the same."""


def body_schema() -> Schema:
    """The schema of a request that starts a run."""
    schema = fields_schema(RUN)
    for name, field in schema["properties"].items():
        if (reason := why_refused(name)) is not None:
            field["description"] += f" Refused if it asks for something: {reason}."
    return {"title": "NewResponse", **schema}


def answers_of(dialect: Dialect) -> Answers:
    """What an address with this dialect answers."""
    whole, request_id = (
        wire_schemas.response(dialect),
        {
            REQUEST_ID: "The id of the response.",
            WARNINGS: "What of the request has no effect.",
            **RATELIMITS,
        },
    )
    return {
        200: Answer(
            "The response, or the stream of its events.",
            {JSON: whole, EVENTS: wire_schemas.event(dialect)},
            request_id,
        ),
        202: Answer(
            "The response as it is now. Its run goes on.",
            {JSON: whole},
            {
                **request_id,
                "location": "Where to read the response.",
                "preference-applied": f"`{APPLIED}`",
            },
        ),
    }


ERRORS = (
    *(*OF_STORE, *OF_GRAPHS, *OF_BODY),
    *(UnsupportedField, UnknownGraph, GraphNotLoaded, ResponseNotFound, ConversationNotFound, ItemNotFound),
    *(ApprovalNotFound, ApprovalAnswered, OtherAddress, IdempotencyKeyUsed, ConversationBusy, EventLogExpired),
    *(InvalidEncryptedContent, LimitReached),
    *every(RunError),
)
"""Why a request has no response. The error of a run that has failed is among them."""


class ResponseRoutes:
    """Starts a run for each request and answers with its events."""

    def __init__(
        self,
        *,
        settings: Settings,
        identity: Identity,
        gate: Gate,
        runs: Runs,
        store: StoreGate,
        bodies: Bodies,
        posted: PostedJson,
        reply_seconds: float | None = None,
    ) -> None:
        self._settings = settings
        self._posted = posted
        self._reply_seconds = reply_seconds
        self._identity = identity
        self._gate = gate
        self._store = store
        self._bodies = bodies
        self._runs = runs
        self._joining = Joining(runs)
        self._repeats = Repeats()
        self._repeated = RepeatedAnswers(
            settings=settings,
            joining=self._joining,
            repeats=self._repeats,
            write_seconds=settings.write_seconds + HOST_SECONDS,
        )

    @property
    def repeats(self) -> Repeats:
        """The requests that may be repeated. Those over WebSockets are among them."""
        return self._repeats

    @property
    def repeated(self) -> RepeatedAnswers:
        """What answers with runs that exist."""
        return self._repeated

    def routes(self, *, elsewhere: str) -> list[Route]:
        """The routes of the app, without the address that others serve."""
        addresses = ((path, dialect) for path, dialect in ADDRESSES.items() if path != elsewhere)
        return [route(path, POST=partial(self.run, dialect=dialect)) for path, dialect in addresses]

    @described(
        TAG,
        answers_of,
        body=body_schema(),
        parameters=PARAMETERS,
        errors=ERRORS,
    )
    async def run(self, request: Request, dialect: Dialect) -> ASGIApp:
        """Start a run and answer with its stream or its whole response.

        Raises:
            AgentError: the request is refused or the run cannot start.
        """
        began = time.monotonic()
        self._posted.check_declared(request)
        caller = await self._identity.caller(request.headers)
        token = self._identity.token(request.headers)
        with with_user_token(token):
            # The token must be known as a secret while the body is read: a caller may have pasted it into the input.
            started = await self._started(request, dialect, caller, token, began)
        if isinstance(started, Begun):
            background = self._runs.background
            if background is not None and started.asked.invocation.background and token is not None:
                # Its run may wait for it.
                await background.bring_token(caller, started.response_id, token)
            return await self._repeated.answer(request, started, until=self._waits_until(request, started, began))
        if not isinstance(started, tuple):
            return await self._queued(request, caller, started, began)
        run, trace = started
        reader = self._runs.read(run, quiet_seconds=self._settings.keepalive_seconds)
        trace_reply = TraceReply.asked(trace, run, headers=request.headers)
        if run.request.invocation.mode == "stream":
            return self._stream(run, reader, trace_reply)
        return await self._reply(run, reader, request, trace_reply)

    async def _started(
        self, request: Request, dialect: Dialect, caller: Caller, token: UserToken | None, began: float
    ) -> "tuple[Run, RunTrace | None] | Submission | Begun":
        """Read the request and start its run, or put it into the queue. Returns the run and its trace."""
        key = idempotency_key(request.headers)
        if not self._bodies.is_small(request):
            # Refuses a large body before reading it. The slot itself is taken after the body has arrived, so that a
            # slow sender does not occupy one.
            self._runs.require_free_slot()
        async with self._bodies.read(request) as body:
            service = await self._gate.passed()
            await service.catalog.refresh()
            later = respond_async(request.headers) is not None
            parse = partial(service.parse, body, dialect, keyed=key is not None, respond_async=later)
            # A small body is parsed without a slot, in milliseconds: a malformed request gets its error, and not 429,
            # even when all slots are taken.
            invocation = parse() if len(body) <= MOST_PARSED_HERE else None
            with ExitStack() as held:
                slot = None
                if invocation is None:
                    slot = held.enter_context(self._runs.slot())
                    invocation = await parse_body(parse, request.receive)
                asked = RunRequest(
                    invocation=invocation,
                    dialect=dialect,
                    owner=caller,
                    accepted_at=time.time(),
                    key=key,
                    digest=invocation.digest and f"{name_of(dialect)} {invocation.digest}",
                )
                async with self._repeats.alone(asked):
                    # What is begun already needs no slot.
                    if asked.digest is not None and (begun := await self._begun_before(asked)) is not None:
                        return begun
                    if invocation.background:
                        if slot is not None:
                            slot.free()
                        if (submitted := await self._submitted(service, asked, token)) is not None:
                            return submitted
                        asked, slot = replace(asked, invocation=replace(invocation, background=False)), None
                    slot = slot or held.enter_context(self._runs.slot())
                    return await self._run(request, service, asked, self._scope(service.app, asked, token, began), slot)

    async def _begun_before(self, asked: RunRequest) -> Begun | None:
        store = await self._store.passed()
        response_id = await self._repeats.find(asked, store)
        return None if response_id is None else Begun(asked, response_id, store)

    async def _run(
        self, request: Request, service: "Service", asked: RunRequest, scope: RunScope, slot: Slot
    ) -> "tuple[Run, RunTrace | None] | Begun":
        """Start a run."""
        # A request that neither is stored nor names anything stored does not touch the store.
        invocation = asked.invocation
        needs_store = invocation.stored or invocation.items or invocation.compact_threshold is not None
        store = await self._store.passed() if needs_store else None
        trace = None if service.tracer is None else service.tracer.trace()
        starting = self._runs.start(
            asked, scope, graphs=service.catalog, observers=service.observers(trace), slot=slot, store=store
        )
        if store is not None and self._settings.busy == "wait":
            # A run that nobody waits for any more must not take its turn.
            starting = unless_left(starting, request.receive, message=LEFT)
        try:
            with missing_things_named():
                run = await starting
        except BegunBefore as before:
            assert store is not None
            return Begun(asked, before.response_id, store)
        self._repeats.began(asked, run)
        return run, trace

    async def _submitted(
        self, service: "Service", asked: RunRequest, token: UserToken | None
    ) -> "Submission | Begun | None":
        """Put a request into the queue of background runs. `None`: it only prefers that, and its graph cannot do it."""
        store = await self._store.passed()
        try:
            with missing_things_named():
                return await self._runs.submit(
                    asked,
                    RunScope(app=service.app, token=token),
                    graphs=service.catalog,
                    store=store,
                    needs_token=token is not None and self._settings.authorization != "app",
                )
        except BegunBefore as before:
            return Begun(asked, before.response_id, store)
        except UnsupportedField as error:
            if error.param == "background" and asked.invocation.awaited and asked.invocation.webhook is None:
                return None
            raise

    async def _queued(self, request: Request, caller: Caller, submission: "Submission", began: float) -> ASGIApp:
        """The answer to a request whose run goes on in the background: the response object, or the stream of the run
        from its first event on."""
        headers = headers_of(submission.id, submission.request, submission.standing)
        if submission.request.invocation.awaited:
            begun = Begun(submission.request, submission.id, await self._store.passed())
            until = self._waits_until(request, begun, began)
            if self._runs.background is not None and (until is None or until > time.monotonic()):
                await self._runs.background.begins_here(submission.id, seconds=BEGIN_SECONDS)
            return await self._repeated.answer(request, begun, until=until)
        if submission.request.invocation.mode == "stream":
            if self._runs.background is not None:
                # The log of this process is faster than the store.
                await self._runs.background.begins_here(submission.id, seconds=BEGIN_SECONDS)
            reader = await self._joining.reader(
                caller,
                submission.id,
                store=await self._store.passed(),
                quiet_seconds=self._settings.keepalive_seconds,
            )
            return EventStreamResponse(
                reader,
                headers=headers,
                named=submission.request.dialect.open_responses,
                numbered=True,
                write_seconds=self._settings.write_seconds + HOST_SECONDS,
            )
        return Response(encode(submission.response), media_type="application/json", headers=headers)

    def _scope(self, app: AppContext, asked: RunRequest, token: UserToken | None, began: float) -> RunScope:
        """What the run inherits from its request."""
        return RunScope(
            app=app,
            token=token,
            hidden=current_hidden_values(),
            facts=current_log_facts(),
            ends_by=self._ends_by(asked.invocation, began),
        )

    def _waits_until(self, request: Request, begun: Begun, began: float) -> float | None:
        """How long a request waits for the end of a run that does not end with it, in terms of `time.monotonic()`."""
        preference = respond_async(request.headers)
        if preference is None or not begun.asked.invocation.awaited:
            return self._ends_by(begun.asked.invocation, began)
        limit = self._reply_seconds or REPLY_SECONDS
        return began + (limit if preference.seconds is None else min(preference.seconds, limit))

    def _ends_by(self, invocation: "Invocation", began: float) -> float | None:
        # The proxy's time limit for a whole answer began with the request, not with the run.
        if self._reply_seconds is None or invocation.mode != "reply":
            return None
        return began + self._reply_seconds

    def _stream(self, run: "Run", reader: Reader, trace_reply: TraceReply) -> EventStreamResponse:
        async def trailers() -> Iterable[Mapping[str, Any]]:
            self._repeats.told(run.request, run.id)
            return await trace_reply.frames()

        response = EventStreamResponse(
            reader,
            headers=headers_of(run.id, run.request, run.standing),
            trailers=trailers,
            named=run.request.dialect.open_responses,
            # Streams that can be joined. Clients of other addresses may not expect more than `data:` lines.
            numbered=run.request.dialect.open_responses and run.request.turn is not None,
            write_seconds=self._settings.write_seconds + HOST_SECONDS,
        )
        run.when_over(lambda: response.end_within(LATE_READER_SECONDS))
        return response

    async def _reply(self, run: "Run", reader: Reader, request: Request, trace_reply: TraceReply) -> Response:
        try:
            response = await whole_reply(run, reader, request.receive, trace_reply)
        except AgentError as error:
            self._repeats.told(run.request, run.id)
            return error_response(error, request_id=run.id, ran=True)
        if response is None:
            return Response(status_code=NO_RESPONSE_STATUS)
        self._repeats.told(run.request, run.id)
        headers = headers_of(run.id, run.request, run.standing)
        return Response(encode(response), media_type="application/json", headers=headers)


def headers_of(response_id: str, asked: RunRequest, standing: Standing | None) -> dict[str, str]:
    """The headers of the answer: the id, what of the request has no effect, and what is left of the limits for
    people."""
    headers = {"x-request-id": response_id}
    if standing is not None:
        headers |= ratelimit_headers(ratelimits(standing, now=time.time()))
    if asked.invocation.warnings:
        text = "; ".join(asked.invocation.warnings)[:LONGEST_WARNINGS]
        headers[WARNINGS] = text.encode("ascii", "backslashreplace").decode()
    return headers

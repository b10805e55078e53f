"""The routes of AG-UI: start a run in the conversation of a thread, and tell it as events of that protocol."""

import time
from functools import partial
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from graph_agent.errors import AgentError, UnsupportedField
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol import ag_ui_schemas
from graph_agent.protocol.ag_ui_events import TOLD, AgUiWriter
from graph_agent.protocol.ag_ui_fields import RUN_AGENT_INPUT
from graph_agent.protocol.dialects import AG_UI, Dialect
from graph_agent.protocol.field_checks import fields_schema
from graph_agent.redaction import current_hidden_values
from graph_agent.runs.log_context import current_log_facts
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.serving.gate import Gate
from graph_agent.serving.idempotency_key import HEADER as KEY
from graph_agent.serving.identity import Identity
from graph_agent.serving.leaving import unless_left
from graph_agent.serving.limits import Bodies
from graph_agent.serving.operations import EVENTS, REQUEST_ID, Answer, Answers, described
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.reading_in_slot import read_in_slot
from graph_agent.serving.rewritten_frames import RewrittenFrames
from graph_agent.serving.routes.answers import route
from graph_agent.serving.routes.not_found import missing_things_named
from graph_agent.serving.routes.responses import ERRORS, HOST_SECONDS, LEFT, RATELIMITS, TAG, WARNINGS, headers_of
from graph_agent.serving.sse import LATE_READER_SECONDS, EventStreamResponse
from graph_agent.serving.store_gate import StoreGate
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from graph_agent.protocol.ag_ui_requests import AgUiRequest
    from graph_agent.runs.run import Run

PATHS = ("/ag-ui", "/ag-ui/{graph}", "/api/ag-ui", "/api/ag-ui/{graph}")
"""On Databricks Apps a bearer token reaches only addresses below `/api/`."""


def _answers(_: Dialect) -> Answers:
    headers = {
        REQUEST_ID: "The id of the response.",
        WARNINGS: "What of the request has no effect.",
        **RATELIMITS,
    }
    return {200: Answer("The stream of the events of the run.", {EVENTS: ag_ui_schemas.EVENT}, headers, done=False)}


class AgUiRoutes:
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
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._gate = gate
        self._runs = runs
        self._store = store
        self._bodies = bodies
        self._posted = posted

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(path, POST=self.run) for path in PATHS]

    @described(TAG, _answers, body={"title": "RunAgentInput", **fields_schema(RUN_AGENT_INPUT)}, errors=ERRORS)
    async def run(self, request: Request) -> ASGIApp:
        """Start a run of the default graph, or of the one that the address names, and stream its AG-UI events.

        Raises:
            AgentError: the request is refused or the run cannot start.
        """
        self._posted.check_declared(request)
        if request.headers.get(KEY) is not None:
            raise UnsupportedField(
                f"`{KEY}` is not supported here: the same messages again ask for another answer. Leave it out, or POST "
                "to /responses.",
                param=KEY,
            )
        caller = await self._identity.caller(request.headers)
        token = self._identity.token(request.headers)
        with with_user_token(token):
            # The token must be known as a secret while the body is read: a caller may have pasted it into a message.
            asked, run = await self._started(request, caller, token)
        quiet = self._settings.keepalive_seconds
        writer = AgUiWriter(
            thread_id=asked.thread_id,
            run_id=asked.run_id,
            parent_run_id=asked.parent_run_id,
            known_calls=asked.known_calls,
            versioned=asked.versioned,
        )
        response = EventStreamResponse(
            self._runs.read(run, quiet_seconds=quiet),
            headers=headers_of(run.id, run.request, run.standing),
            written=RewrittenFrames(writer.events, told=TOLD, quiet_seconds=quiet),
            # Clients of this protocol read every frame as JSON.
            done=b"",
            write_seconds=self._settings.write_seconds + HOST_SECONDS,
        )
        run.when_over(lambda: response.end_within(LATE_READER_SECONDS))
        return response

    async def _started(self, request: Request, caller: Caller, token: UserToken | None) -> "tuple[AgUiRequest, Run]":
        """Read the request and start its run."""
        async with read_in_slot(
            request,
            bodies=self._bodies,
            gate=self._gate,
            runs=self._runs,
            parse=lambda service: partial(service.parse_ag_ui, graph=request.path_params.get("graph")),
        ) as (service, asked, slot):
            starting = self._runs.start(
                RunRequest(invocation=asked.invocation, dialect=AG_UI, owner=caller, accepted_at=time.time()),
                Scope(app=service.app, token=token, hidden=current_hidden_values(), facts=current_log_facts()),
                graphs=service.catalog,
                observers=service.observers(),
                slot=slot,
                store=await self._store.passed(),
            )
            if self._settings.busy == "wait":
                # A run that nobody waits for any more must not take its turn.
                starting = unless_left(starting, request.receive, message=LEFT)
            try:
                with missing_things_named():
                    return asked, await starting
            except AgentError as error:
                raise asked.in_terms(error) from None

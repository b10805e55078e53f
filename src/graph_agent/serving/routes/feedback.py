"""`/responses/{id}/feedback`: what the caller says about an answer. It becomes an assessment of the answer's trace."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.errors import InvalidRequest, NoTrace, ResponseNotFound, TraceNotReady, TraceStoreUnavailable
from graph_agent.identity.owner import Owner
from graph_agent.protocol.feedback_requests import FEEDBACK
from graph_agent.protocol.field_checks import Schema, fields_schema
from graph_agent.protocol.wire_schemas import BOOLEAN, STRING, TEXT_OR_NULL, closed, const
from graph_agent.serving.gate import Gate
from graph_agent.serving.identity import Identity
from graph_agent.serving.operations import OF_BODY, OF_GRAPHS, OF_STORE, described
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.not_found import NO_RESPONSE, missing_things
from graph_agent.serving.routes.queries import check_query, id_in
from graph_agent.serving.routes.stored_responses import FAMILIES
from graph_agent.serving.store_gate import StoreGate
from graph_agent.stores.records import GivenFeedback, StoredResponse
from graph_agent.stores.store import ResponseStore
from graph_agent.threads import run_in_call_thread
from graph_agent.trace_links import trace_link

if TYPE_CHECKING:
    # Both import LangChain, which takes seconds, and the port must answer before that.
    from graph_agent.tracing import Tracer
    from graph_agent.tracing.ratings import Rating

SECONDS = 10.0
"""How long feedback waits for the store of traces, and for a trace that is on its way there."""

PAUSE = 0.25
"""Seconds between two looks for such a trace."""

DELIVERY_SECONDS = 120.0
"""How long after a response its trace may be on its way. Later, a trace that is not there was lost or deleted."""

MOST_NAMES = 20
"""The most names under which one response has feedback."""


TAG = "Feedback"

GIVEN: Schema = {"type": "object", "additionalProperties": closed("GivenFeedback", {"value": BOOLEAN})}
"""The schema of `feedback_body`."""

_ABOUT: Mapping[str, Schema] = {
    "object": const("response.feedback"),
    "response_id": STRING,
    "trace_id": TEXT_OR_NULL,
}


class FeedbackRoutes:
    """The caller's feedback on stored responses."""

    def __init__(
        self, *, identity: Identity, gate: Gate, store: StoreGate, posted: PostedJson, trace_url: str | None
    ) -> None:
        self._identity = identity
        self._gate = gate
        self._store = store
        self._posted = posted
        self._trace_url = trace_url
        # So that two clicks at once make one assessment.
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(f"{prefix}/responses/{{id}}/feedback", GET=self.read, POST=self.give) for prefix in FAMILIES]

    @described(
        TAG,
        closed("FeedbackOfResponse", {**_ABOUT, "trace_url": TEXT_OR_NULL, "feedback": GIVEN}),
        says="What was said.",
        errors=(*OF_STORE, InvalidRequest, ResponseNotFound),
    )
    async def read(self, request: Request) -> Response:
        """What the caller has said about the response, and where its trace is."""
        check_query(request)
        owner = Owner.of(await self._identity.caller(request.headers))
        stored = await _found((await self._store.passed()).responses, owner, _id(request))
        return json_answer(
            {
                "object": "response.feedback",
                "response_id": stored.id,
                "trace_id": stored.trace,
                "trace_url": trace_link(self._trace_url, trace=stored.trace, response=stored.id),
                "feedback": feedback_body(stored),
            }
        )

    @described(
        TAG,
        closed("KeptFeedback", {**_ABOUT, "name": STRING, "value": BOOLEAN, "comment": TEXT_OR_NULL}),
        says="What is kept.",
        body={"title": "NewFeedback", **fields_schema(FEEDBACK)},
        errors=(
            *(*OF_STORE, *OF_GRAPHS, *OF_BODY),
            *(ResponseNotFound, NoTrace, TraceNotReady, TraceStoreUnavailable),
        ),
    )
    async def give(self, request: Request) -> Response:
        """Say whether an answer was good. A second time under the same name replaces the first."""
        self._posted.check_declared(request)
        check_query(request)
        caller = await self._identity.caller(request.headers)
        owner, responses, response_id = Owner.of(caller), (await self._store.passed()).responses, _id(request)
        service = await self._gate.passed()
        new = await self._posted.parsed(request, service.parse_feedback)
        rating = service.rating(new, user=caller.user)
        turn = self._turns.setdefault((owner.key, response_id), asyncio.Lock())
        try:
            async with asyncio.timeout(SECONDS), turn:
                stored = await _found(responses, owner, response_id)
                known = stored.feedback.get(new.name)
                if known is None and len(stored.feedback) >= MOST_NAMES:
                    message = f"the response has feedback under {MOST_NAMES} names already: use one of them"
                    raise InvalidRequest(message, param="name")
                trace = _trace(stored, service.tracer)
                assert service.tracer is not None
                assessment = await _rate(service.tracer, stored, trace, rating, known)
                kept = {**stored.feedback, new.name: GivenFeedback(value=new.value, assessment=assessment)}
                await responses.keep_feedback(owner, response_id, kept)
        except TimeoutError:
            raise TraceStoreUnavailable(NO_ANSWER) from None
        return json_answer(
            {
                "object": "response.feedback",
                "response_id": response_id,
                "trace_id": trace,
                "name": new.name,
                "value": new.value,
                "comment": new.comment,
            }
        )


NO_ANSWER = "the store of traces does not answer, so the feedback is not kept: send it again"
REFUSED = "the store of traces refuses the feedback: the operator finds the reason in the rights of this service there"
NONE = "the response has no trace, so it takes no feedback: tracing was off, or the response is too old"
GONE = "the trace of the response is gone: it was deleted, or it could not be delivered"
NOT_YET = "the trace of the response is not stored yet: send the feedback again in a few seconds"
RUNNING = "the response has not ended, and its trace is stored after that: send the feedback again then"


def feedback_body(stored: StoredResponse) -> Mapping[str, Any]:
    """What was said last about a response, by name. Comments are only in the trace."""
    return {name: {"value": one.value} for name, one in stored.feedback.items()}


def _trace(stored: StoredResponse, tracer: "Tracer | None") -> str:
    if stored.trace is not None and tracer is not None:
        return stored.trace
    if stored.is_open and tracer is not None:
        raise TraceNotReady(RUNNING)
    raise NoTrace(NONE)


async def _rate(
    tracer: "Tracer", stored: StoredResponse, trace: str, rating: "Rating", known: GivenFeedback | None
) -> str:
    from graph_agent.tracing.trace_store import Missing, StoreError, StoreUnavailable

    until = time.monotonic() + SECONDS - 1
    while True:
        try:
            return await run_in_call_thread(tracer.rate, trace, rating, known and known.assessment)
        except Missing:
            if not _is_recent(stored):
                raise NoTrace(GONE) from None
            if time.monotonic() >= until:
                raise TraceNotReady(NOT_YET) from None
        except StoreUnavailable:
            if time.monotonic() >= until:
                raise TraceStoreUnavailable(NO_ANSWER) from None
        except StoreError:
            raise TraceStoreUnavailable(REFUSED) from None
        # Traces are delivered by a thread of their own, or by another process, shortly after a run.
        await asyncio.sleep(PAUSE)


def _is_recent(stored: StoredResponse) -> bool:
    ended = (stored.response or {}).get("completed_at") or stored.created_at
    return time.time() - float(ended) < DELIVERY_SECONDS


async def _found(responses: ResponseStore, owner: Owner, response_id: str) -> StoredResponse:
    with missing_things():
        stored = await responses.get(owner, response_id)
    if stored.kind != "response":
        raise ResponseNotFound(NO_RESPONSE)
    return stored


def _id(request: Request) -> str:
    return id_in(request, ResponseNotFound(NO_RESPONSE))

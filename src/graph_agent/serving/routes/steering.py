"""`/responses/{id}/steer`: messages for a response in progress."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.errors import (
    ConversationBusy,
    GraphNotLoaded,
    IdempotencyKeyUsed,
    InvalidRequest,
    LimitReached,
    OtherAddress,
    ResponseCompleted,
    ResponseNotActive,
    ResponseNotFound,
    SteeringNotSupported,
    TooManySteers,
    Unauthenticated,
    UnknownGraph,
    UnsupportedField,
)
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.identity.user_token import with_user_token
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.field_checks import fields_schema
from graph_agent.protocol.listed_items import listed_items
from graph_agent.protocol.steer_fields import REQUIRED_INPUT
from graph_agent.protocol.steer_fields import STEER as STEER_BODY
from graph_agent.protocol.steering import required_input
from graph_agent.protocol.wire_schemas import LISTED_ITEM, SECONDS, STRING, TEXT_OR_NULL, array_of, closed, const, enum
from graph_agent.runs.steering import Steering
from graph_agent.serving.gate import Gate
from graph_agent.serving.idempotency_key import HEADER, LONGEST, idempotency_key
from graph_agent.serving.identity import Identity
from graph_agent.serving.operations import (
    JSON,
    OF_BODY,
    OF_GRAPHS,
    OF_STORE,
    Answer,
    Answers,
    Parameter,
    described,
)
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.not_found import NO_RESPONSE, missing_things
from graph_agent.serving.routes.queries import check_query, id_in
from graph_agent.serving.routes.stored_responses import FAMILIES, of_family
from graph_agent.serving.store_gate import StoreGate
from graph_agent.stores.records import StoredResponse
from graph_agent.stores.steer_records import StoredSteer
from graph_agent.stores.store import Store

if TYPE_CHECKING:
    from graph_agent.protocol.steer_requests import SteerInput

TAG = "Stored responses"

STEER = closed(
    "Steer",
    {
        "id": STRING,
        "object": const("response.steer"),
        "previous_response_id": STRING,
        "status": enum("queued", "pending", "taken", "failed"),
        "successor_id": TEXT_OR_NULL,
        "error_code": TEXT_OR_NULL,
        "required_input": array_of(REQUIRED_INPUT),
        "input": array_of(LISTED_ITEM),
        "created_at": SECONDS,
    },
    says="Messages for a response in progress, and what became of them.",
)


def _accepted(dialect: Dialect) -> Answers:
    return {202: Answer("The messages are queued.", {JSON: STEER})}


class SteerRoutes:
    """Steers the caller's responses."""

    def __init__(
        self, *, identity: Identity, gate: Gate, store: StoreGate, steering: Steering, posted: PostedJson
    ) -> None:
        self._identity = identity
        self._gate = gate
        self._store = store
        self._posted = posted
        self._steering = steering

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(f"{prefix}/responses/{{id}}/steer", GET=self.read, POST=self.steer) for prefix in FAMILIES]

    @described(
        TAG,
        _accepted,
        body={"title": "NewSteer", **fields_schema(STEER_BODY)},
        parameters=(
            Parameter(
                HEADER,
                {"type": "string", "minLength": 1, "maxLength": LONGEST},
                "The same request with the same key is accepted once.",
                "header",
            ),
        ),
        errors=(
            *(*OF_STORE, *OF_GRAPHS, *OF_BODY),
            *(UnsupportedField, ResponseNotFound, OtherAddress, UnknownGraph, GraphNotLoaded, SteeringNotSupported),
            *(ResponseCompleted, ResponseNotActive, TooManySteers, LimitReached, IdempotencyKeyUsed, ConversationBusy),
        ),
    )
    async def steer(self, request: Request) -> Response:
        """Say something while a response is in progress. Its graph stops between two steps, and goes on in the next
        response with what was said."""
        with self._steering.counting():
            return await self._steer(request)

    async def _steer(self, request: Request) -> Response:
        self._posted.check_declared(request)
        check_query(request)
        key = idempotency_key(request.headers)
        caller, store, stored = await self._found(request)
        service = await self._gate.passed()
        token = None
        # Whoever has no token may still say something to a run that has one.
        with suppress(Unauthenticated):
            token = self._identity.token(request.headers)
        with with_user_token(token):
            # The token must be known as a secret while the body is read: a caller may have pasted it into a message.
            said: SteerInput = await self._posted.parsed(request, service.parse_steer)
        with missing_things():
            steer = await self._steering.steer(caller, stored, said, store=store, graphs=service.catalog, key=key)
        return json_answer(steer_body(steer, stored), status=202)

    @described(
        TAG,
        closed("SteerList", {"object": const("list"), "data": array_of(STEER)}),
        says="The steers of the response, in order.",
        errors=(*OF_STORE, InvalidRequest, ResponseNotFound, OtherAddress),
    )
    async def read(self, request: Request) -> Response:
        """What was said while the response was in progress, and which response has it."""
        check_query(request)
        caller, store, stored = await self._found(request)
        steers = await self._steering.listed(caller, stored, store=store)
        return json_answer({"object": "list", "data": [steer_body(one, stored) for one in steers]})

    async def _found(self, request: Request) -> tuple[Caller, Store, StoredResponse]:
        caller = await self._identity.caller(request.headers)
        response_id = id_in(request, ResponseNotFound(NO_RESPONSE))
        store = await self._store.passed()
        self._steering.require_stored(caller, response_id)
        with missing_things():
            stored = await store.responses.get(Owner.of(caller), response_id)
        return caller, store, of_family(request, stored)


def steer_body(steer: StoredSteer, stored: StoredResponse) -> Mapping[str, Any]:
    """One steer. `stored` is the response that it steers."""
    # What is left when a response has ended waits for the request that answers it.
    waits = steer.status == "queued" and not stored.is_open
    return {
        "id": steer.id,
        "object": "response.steer",
        "previous_response_id": steer.response,
        "status": "pending" if waits else steer.status,
        "successor_id": steer.successor,
        "error_code": steer.error,
        "required_input": required_input(stored.output) if waits else [],
        "input": listed_items(steer.input),
        "created_at": int(steer.created_at),
    }

"""`/responses/{id}` and its input items: read, join, cancel and delete a stored response."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from graph_agent.errors import (
    ConversationBusy,
    EventLogExpired,
    InvalidRequest,
    OtherAddress,
    ResponseNotFound,
    RunNotFound,
    Unauthenticated,
    UnsupportedField,
)
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol import wire_schemas
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import ResponseHead
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.listed_items import listed_items
from graph_agent.protocol.request_bodies import body_fields
from graph_agent.runs.joining import OPEN, Joining
from graph_agent.runs.registry import Runs
from graph_agent.runs.stored_log import is_lost
from graph_agent.serving.identity import Identity
from graph_agent.serving.mounting import prefix_of
from graph_agent.serving.operations import (
    EVENTS,
    JSON,
    OF_BODY,
    OF_STORE,
    REQUEST_ID,
    Answer,
    Answers,
    Parameter,
    described,
)
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.not_found import NO_RESPONSE, missing_things
from graph_agent.serving.routes.queries import (
    A_SWITCH,
    AN_EVENT,
    INCLUDE,
    PAGING,
    check_query,
    deleted_schema,
    event_number,
    id_in,
    list_body,
    list_schema,
    page_of,
    page_through,
    switch,
)
from graph_agent.serving.sse import LATE_READER_SECONDS, EventStreamResponse
from graph_agent.serving.store_gate import StoreGate
from graph_agent.stores.records import Family, StoredResponse
from graph_agent.stores.store import Store

FAMILIES: Mapping[str, Family] = {"": "databricks", "/api": "databricks", "/v1": "openai"}
"""The beginning of an address -> the responses that it reads."""

STREAM = (
    Parameter("stream", A_SWITCH, "Whether to answer with the stream of the events."),
    Parameter("starting_after", AN_EVENT, "The number of the last event that the reader has."),
    Parameter("include_obfuscation", {"type": "boolean", "const": False}, "Events are not padded."),
)
"""Query parameters of OpenAI's API that read a response as a stream."""

WAITS_FOR_TOKEN: Mapping[str, Any] = {
    "status": "incomplete",
    "incomplete_details": {
        "reason": "user_token_required",
        "message": "the run acts for its user, and waits for a token: read or join it again with a valid one",
    },
}
"""What a reader without a token sees of a run that waits for one. The run has not ended."""

LAST_EVENT_ID = "last-event-id"
"""The header with which browsers say what they have got when they come back."""

JOINS = Parameter(LAST_EVENT_ID, {"type": "string"}, "With `stream`, instead of `starting_after`.", "header")

TAG = "Stored responses"

ITEMS = list_schema("ItemList", wire_schemas.LISTED_ITEM)
"""The schema of a list of items."""


def _read(dialect: Dialect) -> Answers:
    content = {JSON: wire_schemas.response(dialect), EVENTS: wire_schemas.event(dialect)}
    return {200: Answer("The response, or the stream of its events.", content, {REQUEST_ID: "The id of the response."})}


def _cancelled(dialect: Dialect) -> Answers:
    return {200: Answer("The response as it is now.", {JSON: wire_schemas.response(dialect)})}


class StoredResponseRoutes:
    """Reads, joins, cancels and deletes the caller's stored responses."""

    def __init__(
        self,
        *,
        identity: Identity,
        store: StoreGate,
        runs: Runs,
        posted: PostedJson,
        keepalive_seconds: float,
        write_seconds: float,
        acts_for_users: bool = False,
    ) -> None:
        """With `acts_for_users`, runs may need the token of their user."""
        self._acts_for_users = acts_for_users
        self._identity = identity
        self._store = store
        self._runs = runs
        self._joining = Joining(runs)
        self._posted = posted
        self._keepalive_seconds = keepalive_seconds
        self._write_seconds = write_seconds

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [
            made
            for prefix in FAMILIES
            for made in (
                route(f"{prefix}/responses/{{id}}", GET=self.read, DELETE=self.delete),
                route(f"{prefix}/responses/{{id}}/input_items", GET=self.input_items),
                route(f"{prefix}/responses/{{id}}/cancel", POST=self.cancel),
            )
        ]

    @described(
        TAG,
        _read,
        parameters=(*INCLUDE[:1], *STREAM, JOINS),
        errors=(*OF_STORE, InvalidRequest, UnsupportedField, ResponseNotFound, OtherAddress, EventLogExpired),
    )
    async def read(self, request: Request) -> ASGIApp:
        """The response object, as it was sent. Of a run in progress, its output so far. Or the stream of its events."""
        query = check_query(request, *INCLUDE, *STREAM)
        if switch(query.get("include_obfuscation"), param="include_obfuscation"):
            raise UnsupportedField(
                "`include_obfuscation` is not supported: events are not padded", param="include_obfuscation"
            )
        after = event_number(query.get("starting_after"), param="starting_after")
        if switch(query.get("stream"), param="stream") and request.method != "HEAD":
            return await self._joined(request, after)
        if after is not None:
            raise InvalidRequest("`starting_after` needs `stream=true`", param="starting_after")
        caller, store, stored = await self._found(request)
        waits = await self._continued(request, caller, store, stored)
        response = await self._object(caller, store, stored)
        return json_answer({**response, **WAITS_FOR_TOKEN} if waits else response)

    @described(
        TAG,
        _cancelled,
        body=wire_schemas.OPEN,
        body_required=False,
        errors=(*OF_STORE, *OF_BODY, ResponseNotFound, RunNotFound, OtherAddress, ConversationBusy),
    )
    async def cancel(self, request: Request) -> Response:
        """End the run of a response. A response that has ended is returned as it is."""
        self._posted.check_declared(request)
        check_query(request)
        caller, store, stored = await self._found(request)
        await self._posted.parsed(request, _unread)
        if stored.status in OPEN:
            with missing_things():
                await self._joining.cancel(caller, stored.id, store=store)
                stored = await store.responses.get(Owner.of(caller), stored.id)
        return json_answer(await self._object(caller, store, stored))

    async def _joined(self, request: Request, after: int | None) -> EventStreamResponse:
        # A browser repeats the address that it was given, so the header is newer.
        came_back = event_number(request.headers.get(LAST_EVENT_ID) or None, param="Last-Event-ID")
        after = came_back if came_back is not None else -1 if after is None else after
        caller, store, stored = await self._found(request)
        await self._continued(request, caller, store, stored)
        reader = await self._joining.reader(
            caller, stored.id, store=store, after=after, quiet_seconds=self._keepalive_seconds
        )
        response = EventStreamResponse(
            reader,
            headers={"x-request-id": stored.id},
            named=stored.family == "openai",
            numbered=True,
            write_seconds=self._write_seconds,
        )
        if stored.status not in OPEN:
            response.end_within(LATE_READER_SECONDS)
        else:
            # Of another process's run, nothing is held in memory.
            self._runs.when_over(stored.id, lambda: response.end_within(LATE_READER_SECONDS))
        return response

    async def _object(self, caller: Caller, store: Store, stored: StoredResponse) -> Mapping[str, Any]:
        head = response_of(stored)
        if stored.status in OPEN or is_lost(stored):
            return await self._joining.so_far(caller, stored, store=store, head=head)
        return head

    async def _continued(self, request: Request, caller: Caller, store: Store, stored: StoredResponse) -> bool:
        """Go on with a run that waits for a token of its user, if the request brings one. Returns whether the run
        (still) waits."""
        if not self._acts_for_users or stored.status not in OPEN:
            return False
        run = await store.runs.get(Owner.of(caller), stored.id)
        if run is None or run.state != "parked":
            return False
        token, background = None, self._runs.background
        # Whoever has no token may still read how the run is.
        with suppress(Unauthenticated):
            token = self._identity.token(request.headers)
        if token is None or background is None:
            return True
        return not await background.bring_token(caller, stored.id, token)

    @described(
        TAG,
        deleted_schema("DeletedResponse", "response"),
        errors=(*OF_STORE, InvalidRequest, ResponseNotFound, ConversationBusy),
    )
    async def delete(self, request: Request) -> Response:
        """Delete a response and its items."""
        check_query(request)
        owner = Owner.of(await self._identity.caller(request.headers))
        store, response_id = await self._store.passed(), _id(request)
        with missing_things():
            await store.responses.delete(owner, response_id)
        self._runs.kept.forget(owner, response=response_id)
        return json_answer({"id": response_id, "object": "response", "deleted": True})

    @described(
        TAG,
        ITEMS,
        says="A page of the items.",
        parameters=(*PAGING, *INCLUDE[:1]),
        errors=(*OF_STORE, InvalidRequest, ResponseNotFound, OtherAddress),
    )
    async def input_items(self, request: Request) -> Response:
        """The items that the response added to its conversation, in pages. Also those that were added without a run."""
        page = page_of(request, *INCLUDE)
        _, _, stored = await self._found(request, added=True)
        items, has_more = page_through(listed_items(stored.input), page)
        return json_answer(list_body(items, has_more=has_more))

    async def _found(self, request: Request, *, added: bool = False) -> tuple[Caller, Store, StoredResponse]:
        """The caller, the store and the response. With `added`, items that were added without a run are found, too."""
        caller = await self._identity.caller(request.headers)
        store, response_id = await self._store.passed(), _id(request)
        with missing_things():
            stored = await store.responses.get(Owner.of(caller), response_id)
        if stored.kind != "response":
            if added:
                # They have the same form at every address.
                return caller, store, stored
            raise ResponseNotFound(NO_RESPONSE)
        return caller, store, of_family(request, stored)


def family_of(request: Request) -> Family:
    """Which responses the request's address reads."""
    return "openai" if request.scope["route"].path.startswith("/v1/") else "databricks"


def of_family(request: Request, stored: StoredResponse) -> StoredResponse:
    """The response, if the request's address reads it.

    Raises:
        OtherAddress: it does not.
    """
    if stored.family != family_of(request):
        prefix = f"{prefix_of(request.scope)}{'/v1' if stored.family == 'openai' else ''}"
        raise OtherAddress(
            f"this response was made at an address of the other kind, and its items have another form; "
            f"read it at {prefix}/responses/{stored.id}"
        )
    return stored


def response_of(stored: StoredResponse) -> Mapping[str, Any]:
    """The response object of a stored response."""
    if stored.response is not None and "tools" in stored.response:
        if stored.status == "cancelled":
            # Events have no such status: their last one says that the response failed.
            return {**stored.response, "status": "cancelled", "error": None}
        return stored.response
    # Of a run in progress, and of one whose process is gone, only the beginning is known.
    openai = stored.family == "openai"
    head = ResponseHead(model=stored.graph, id=stored.id, created_at=int(stored.created_at), pending_usage=openai)
    more: dict[str, Any] = {"custom_outputs": {"thread_id": stored.conversation}}
    if openai:
        more["conversation"] = {"id": stored.conversation}
    # Events have no status `cancelled`, but a store does.
    status: Any = stored.status
    begun = head.response(status, store=True, previous_response_id=stored.parent, **more)
    return {**begun, **(stored.response or {})}


def _unread(body: bytes, pulse: Pulse = no_pulse) -> None:
    """A body that nobody reads. It must be JSON or empty."""
    if body.strip():
        body_fields(body, pulse)


def _id(request: Request) -> str:
    return id_in(request, ResponseNotFound(NO_RESPONSE))

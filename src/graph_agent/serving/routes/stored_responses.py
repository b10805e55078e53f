"""`/responses/{id}` and its input items: read and delete a stored response."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.errors import OtherAddress, ResponseNotFound, UnsupportedField
from graph_agent.identity.owner import Owner
from graph_agent.protocol.events import ResponseHead
from graph_agent.protocol.listed_items import listed_items
from graph_agent.serving.identity import Identity
from graph_agent.serving.mounting import prefix_of
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.not_found import NO_RESPONSE, missing_things
from graph_agent.serving.routes.queries import INCLUDE, check_query, is_plausible_id, list_body, page_of, page_through
from graph_agent.serving.store_gate import StoreGate
from graph_agent.stores.records import Family, StoredResponse

FAMILIES: Mapping[str, Family] = {"": "databricks", "/api": "databricks", "/v1": "openai"}
"""The beginning of an address -> the responses that it reads."""

_LATER = ("stream", "starting_after", "include_obfuscation")
"""Query parameters of OpenAI's API that read a response as a stream."""


class StoredResponseRoutes:
    """Reads and deletes the caller's stored responses."""

    def __init__(self, *, identity: Identity, store: StoreGate) -> None:
        self._identity = identity
        self._store = store

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [
            made
            for prefix in FAMILIES
            for made in (
                route(f"{prefix}/responses/{{id}}", GET=self.read, DELETE=self.delete),
                route(f"{prefix}/responses/{{id}}/input_items", GET=self.input_items),
            )
        ]

    async def read(self, request: Request) -> Response:
        """The response object, as it was sent. Of a run in progress, what is known at its start."""
        query = check_query(request, *INCLUDE, *_LATER)
        for name in _LATER:
            if query.get(name, "false") != "false":
                raise UnsupportedField(f"`{name}` is not supported: a stored response is read whole", param=name)
        return json_answer(response_of(await self._stored(request)))

    async def delete(self, request: Request) -> Response:
        """Delete a response and its items."""
        check_query(request)
        owner = Owner.of(await self._identity.caller(request.headers))
        store, response_id = await self._store.passed(), _id(request)
        with missing_things():
            await store.responses.delete(owner, response_id)
        return json_answer({"id": response_id, "object": "response", "deleted": True})

    async def input_items(self, request: Request) -> Response:
        """The items that the response added to its conversation, in pages."""
        page = page_of(request, *INCLUDE)
        stored = await self._stored(request)
        items, has_more = page_through(listed_items(stored.input), page)
        return json_answer(list_body(items, has_more=has_more))

    async def _stored(self, request: Request) -> StoredResponse:
        owner = Owner.of(await self._identity.caller(request.headers))
        store, response_id = await self._store.passed(), _id(request)
        with missing_things():
            stored = await store.responses.get(owner, response_id)
        if stored.kind != "response":
            raise ResponseNotFound(NO_RESPONSE)
        if stored.family != family_of(request):
            prefix = f"{prefix_of(request.scope)}{'/v1' if stored.family == 'openai' else ''}"
            raise OtherAddress(
                f"this response was made at an address of the other kind, and its items have another form; "
                f"read it at {prefix}/responses/{response_id}"
            )
        return stored


def family_of(request: Request) -> Family:
    """Which responses the request's address reads."""
    return "openai" if request.scope["route"].path.startswith("/v1/") else "databricks"


def response_of(stored: StoredResponse) -> Mapping[str, Any]:
    """The response object of a stored response."""
    if stored.response is not None and "tools" in stored.response:
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


def _id(request: Request) -> str:
    text: str = request.path_params["id"]
    if not is_plausible_id(text):
        raise ResponseNotFound(NO_RESPONSE)
    return text

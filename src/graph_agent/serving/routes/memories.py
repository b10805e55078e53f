"""`/memories`: what graphs remember about the caller. `/me/data`: everything of the caller that is stored."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.errors import ConversationBusy, InvalidRequest, MemoryNotFound, MemoryRefused
from graph_agent.identity.owner import Owner
from graph_agent.protocol.field_checks import NOT_BLANK, fields_schema
from graph_agent.protocol.memory_requests import MEMORY_CHANGE
from graph_agent.protocol.wire_schemas import (
    COUNT,
    NUMBER,
    OPEN,
    SECONDS,
    STRING,
    TEXT_OR_NULL,
    array_of,
    closed,
    const,
)
from graph_agent.runs.registry import Runs
from graph_agent.serving.gate import Gate
from graph_agent.serving.identity import Identity
from graph_agent.serving.operations import OF_BODY, OF_GRAPHS, OF_STORE, Parameter, described
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.not_found import NO_MEMORY, missing_things
from graph_agent.serving.routes.queries import (
    PAGING,
    check_query,
    deleted_schema,
    id_in,
    list_body,
    list_schema,
    no_such_entry,
    page_of,
)
from graph_agent.serving.routes.stored_responses import FAMILIES
from graph_agent.serving.store_gate import StoreGate
from graph_agent.stores.memory_records import Memory, MemorySearch
from graph_agent.stores.store import Memories

LONGEST_QUERY = 1000
"""Characters of a search."""

SEARCH = (
    Parameter(
        "query",
        {"type": "string", "pattern": NOT_BLANK, "maxLength": LONGEST_QUERY},
        "What the memories should fit. The results have one page, the best first.",
    ),
)

TAG = "Memories"

MEMORY = closed(
    "Memory",
    {
        "id": STRING,
        "object": const("memory"),
        "text": TEXT_OR_NULL,
        "namespace": array_of(STRING),
        "key": STRING,
        "value": OPEN,
        "response_id": TEXT_OR_NULL,
        "created_at": SECONDS,
        "updated_at": SECONDS,
    },
    {"score": NUMBER},
    says="What graphs remember about the caller.",
)

GONE = ("responses", "conversations", "checkpoints", "memories")
"""What is counted when everything of a caller is deleted."""

CANCEL_SECONDS = 10.0
"""How long the deletion of everything waits for the ends of the caller's background runs, which it cancels."""

TRACES_STAY = (
    "Traces are not deleted. They stay in the MLflow experiment of this service, or in its tables in Unity Catalog, "
    "with the caller as `mlflow.trace.user`. Whoever may manage them deletes them there, such as with "
    "`mlflow.MlflowClient().delete_traces(experiment_id=…, trace_ids=[…])`."
)


class MemoryRoutes:
    """The caller's memories."""

    def __init__(self, *, identity: Identity, gate: Gate, store: StoreGate, posted: PostedJson, runs: Runs) -> None:
        self._identity = identity
        self._gate = gate
        self._store = store
        self._posted = posted
        self._runs = runs

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [
            made
            for prefix in FAMILIES
            for made in (
                route(f"{prefix}/memories", GET=self.list_all, DELETE=self.delete_all),
                route(f"{prefix}/memories/{{id}}", GET=self.read, PATCH=self.change, DELETE=self.delete),
                route(f"{prefix}/me/data", DELETE=self.forget),
            )
        ]

    @described(
        TAG,
        list_schema("MemoryList", MEMORY),
        says="A page of the memories.",
        parameters=(*PAGING, *SEARCH),
        errors=(*OF_STORE, InvalidRequest),
    )
    async def list_all(self, request: Request) -> Response:
        """The caller's memories, the newest first, or those that fit `query`, the best first."""
        page, query = page_of(request, *SEARCH), request.query_params.get("query")
        if query is not None:
            _check_search(request, query)
        owner, memories = await self._asked(request)
        if query is not None:
            found = await memories.search(owner, MemorySearch(query=query, limit=page.limit))
            return json_answer(list_body([_body(one) for one in found], has_more=False))
        found, has_more = await memories.page(owner, page)
        if not found and page.after and not await _exists(memories, owner, page.after):
            raise no_such_entry()
        return json_answer(list_body([_body(one) for one in found], has_more=has_more))

    @described(TAG, MEMORY, says="The memory.", errors=(*OF_STORE, InvalidRequest, MemoryNotFound))
    async def read(self, request: Request) -> Response:
        """One memory."""
        check_query(request)
        owner, memories = await self._asked(request)
        with missing_things():
            return json_answer(_body(await memories.get(owner, _id(request))))

    @described(
        TAG,
        MEMORY,
        says="The changed memory.",
        body={"title": "MemoryChange", **fields_schema(MEMORY_CHANGE)},
        errors=(*OF_STORE, *OF_GRAPHS, *OF_BODY, MemoryNotFound),
    )
    async def change(self, request: Request) -> Response:
        """Replace the text of a memory."""
        self._posted.check_declared(request)
        check_query(request)
        owner, memories = await self._asked(request)
        memory_id, service = _id(request), await self._gate.passed()
        text = await self._posted.parsed(request, service.parse_memory_change)
        try:
            with missing_things():
                return json_answer(_body(await memories.change(owner, memory_id, text)))
        except MemoryRefused as error:
            raise InvalidRequest(error.message, param="text") from None

    @described(
        TAG,
        deleted_schema("DeletedMemory", "memory.deleted"),
        errors=(*OF_STORE, InvalidRequest, MemoryNotFound),
    )
    async def delete(self, request: Request) -> Response:
        """Delete a memory."""
        check_query(request)
        owner, memories = await self._asked(request)
        memory_id = _id(request)
        with missing_things():
            await memories.delete(owner, memory_id)
        return json_answer({"id": memory_id, "object": "memory.deleted", "deleted": True})

    @described(
        TAG,
        closed("DeletedMemories", {"object": const("memories.deleted"), "deleted": {"const": True}, "count": COUNT}),
        errors=(*OF_STORE, InvalidRequest),
    )
    async def delete_all(self, request: Request) -> Response:
        """Delete all memories of the caller."""
        check_query(request)
        owner, memories = await self._asked(request)
        return json_answer({"object": "memories.deleted", "deleted": True, "count": await memories.delete_all(owner)})

    @described(
        TAG,
        closed(
            "DeletedData",
            {
                "object": const("me.data.deleted"),
                "deleted": closed(None, dict.fromkeys(GONE, COUNT)),
                "not_deleted": closed(None, {"traces": STRING}),
            },
        ),
        errors=(*OF_STORE, InvalidRequest, ConversationBusy),
    )
    async def forget(self, request: Request) -> Response:
        """Delete everything of the caller that is stored."""
        check_query(request)
        caller, store = await self._identity.caller(request.headers), await self._store.passed()
        owner = Owner.of(caller)
        try:
            gone = await store.forget(owner)
        except ConversationBusy as busy:
            run = await store.runs.get(owner, busy.running)
            if run is None or not run.background:
                # Of a request whose caller waits for it.
                raise
            await self._runs.end_background_of(caller, store=store, within_seconds=CANCEL_SECONDS)
            gone = await store.forget(owner)
        self._runs.kept.forget(owner)
        counts = {name: getattr(gone, name) for name in GONE}
        return json_answer({"object": "me.data.deleted", "deleted": counts, "not_deleted": {"traces": TRACES_STAY}})

    async def _asked(self, request: Request) -> tuple[Owner, Memories]:
        """The caller as owner, and the memories."""
        owner = Owner.of(await self._identity.caller(request.headers))
        return owner, (await self._store.passed()).memories


def _check_search(request: Request, query: str) -> None:
    for name in ("after", "order"):
        if name in request.query_params:
            raise InvalidRequest(f"`{name}` does not go with `query`, whose results have one page", param=name)
    if not query.strip() or len(query) > LONGEST_QUERY:
        raise InvalidRequest(f"`query` must be a text of at most {LONGEST_QUERY} characters", param="query")


async def _exists(memories: Memories, owner: Owner, memory_id: str) -> bool:
    try:
        await memories.get(owner, memory_id)
    except MemoryNotFound:
        return False
    return True


def _body(memory: Memory) -> Mapping[str, Any]:
    body: dict[str, Any] = {
        "id": memory.id,
        "object": "memory",
        "text": memory.text,
        "namespace": memory.namespace,
        "key": memory.key,
        "value": dict(memory.value),
        "response_id": memory.response,
        "created_at": int(memory.created_at),
        "updated_at": int(memory.updated_at),
    }
    return body if memory.score is None else {**body, "score": round(memory.score, 4)}


def _id(request: Request) -> str:
    return id_in(request, MemoryNotFound(NO_MEMORY))

"""`/conversations`: the caller's conversations, their items, and their responses with the branches that they form."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.errors import (
    AgentError,
    ConversationBusy,
    ConversationNotFound,
    InvalidRequest,
    ItemNotFound,
    ResponseNotFound,
    UnsupportedField,
)
from graph_agent.identity.owner import Owner
from graph_agent.protocol import wire_schemas
from graph_agent.protocol.conversation_fields import CONVERSATION_CHANGE, NEW_CONVERSATION, NEW_ITEMS
from graph_agent.protocol.events import new_id
from graph_agent.protocol.field_checks import NOT_BLANK, fields_schema
from graph_agent.protocol.listed_items import listed_item, listed_items
from graph_agent.protocol.wire_schemas import SECONDS, STRING, STRINGS, TEXT_OR_NULL, closed, const, enum
from graph_agent.runs.registry import Runs
from graph_agent.serving.gate import Gate
from graph_agent.serving.identity import Identity
from graph_agent.serving.operations import OF_BODY, OF_GRAPHS, OF_STORE, Parameter, described
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.feedback import GIVEN, feedback_body
from graph_agent.serving.routes.not_found import NO_CONVERSATION, NO_ITEM, missing_things
from graph_agent.serving.routes.queries import (
    A_SWITCH,
    INCLUDE,
    PAGING,
    check_query,
    deleted_schema,
    id_in,
    list_body,
    list_schema,
    no_such_entry,
    page_of,
    page_through,
    switch,
)
from graph_agent.serving.routes.stored_responses import FAMILIES, ITEMS
from graph_agent.serving.store_gate import StoreGate
from graph_agent.stores.records import Conversation, Item, StoredResponse
from graph_agent.stores.store import ResponseStore
from graph_agent.trace_links import trace_link

LONGEST_QUERY, MOST_WORDS = 200, 40
"""Characters and words of a search in titles."""

SEARCH = (
    Parameter(
        "query",
        {"type": "string", "pattern": NOT_BLANK, "maxLength": LONGEST_QUERY},
        f"Words that the title must contain, {MOST_WORDS} at most.",
    ),
    Parameter("pinned", A_SWITCH, "Only conversations that are pinned, or that are not."),
)

TAG = "Conversations"

CONVERSATION = closed(
    "Conversation",
    {
        "id": STRING,
        "object": const("conversation"),
        "created_at": SECONDS,
        "updated_at": SECONDS,
        "title": TEXT_OR_NULL,
        "metadata": STRINGS,
        "last_response_id": TEXT_OR_NULL,
    },
)

NODE = closed(
    "ResponseNode",
    {
        "id": STRING,
        "object": enum("response", "items"),
        "previous_response_id": TEXT_OR_NULL,
        "status": STRING,
        "created_at": SECONDS,
        "model": TEXT_OR_NULL,
        "family": enum("databricks", "openai"),
        "trace_id": TEXT_OR_NULL,
        "trace_url": TEXT_OR_NULL,
        "feedback": GIVEN,
    },
    says="A response as a node of the tree that a conversation is.",
)


class ConversationRoutes:
    """The caller's conversations. Their addresses and bodies are those of OpenAI's conversations API, and more."""

    def __init__(
        self,
        *,
        identity: Identity,
        gate: Gate,
        store: StoreGate,
        posted: PostedJson,
        runs: Runs,
        trace_url: str | None,
    ) -> None:
        self._identity = identity
        self._gate = gate
        self._store = store
        self._posted = posted
        self._runs = runs
        self._trace_url = trace_url

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [
            made
            for prefix in FAMILIES
            for one in (f"{prefix}/conversations/{{id}}",)
            for made in (
                route(f"{prefix}/conversations", GET=self.list_all, POST=self.create),
                route(one, GET=self.read, POST=self.change, DELETE=self.delete),
                route(f"{one}/items", GET=self.list_items, POST=self.add_items),
                route(f"{one}/items/{{item_id}}", GET=self.read_item, DELETE=self.delete_item),
                route(f"{one}/responses", GET=self.list_responses),
            )
        ]

    # -- conversations ------------------------------------------------------------------------------------------

    @described(
        TAG,
        CONVERSATION,
        says="The new conversation.",
        body={"title": "NewConversation", **fields_schema(NEW_CONVERSATION)},
        errors=(*OF_STORE, *OF_GRAPHS, *OF_BODY, UnsupportedField),
    )
    async def create(self, request: Request) -> Response:
        """Create a conversation, which may begin with items."""
        self._posted.check_declared(request)
        check_query(request)
        owner, responses = await self._asked(request)
        service = await self._gate.passed()
        new = await self._posted.parsed(request, service.parse_new_conversation)
        made = await responses.create_conversation(owner, new_id("conv"), metadata=new.metadata, title=new.title)
        if new.items:
            try:
                await responses.add_items(owner, made.id, new.items)
            except BaseException:
                # The caller will never know its id.
                with contextlib.suppress(AgentError):
                    await responses.delete_conversation(owner, made.id)
                raise
        return json_answer(_conversation_body(made))

    @described(
        TAG,
        list_schema("ConversationList", CONVERSATION),
        says="A page of the conversations.",
        parameters=(*PAGING, *SEARCH),
        errors=(*OF_STORE, InvalidRequest),
    )
    async def list_all(self, request: Request) -> Response:
        """The caller's conversations, the one with the newest response first."""
        page = page_of(request, *SEARCH)
        words, pinned = _words(request), request.query_params.get("pinned")
        only = None if pinned is None else switch(pinned, param="pinned")
        owner, responses = await self._asked(request)
        found, has_more = await responses.conversations(owner, page, words=words, pinned=only)
        if not found and page.after and await responses.find_conversation(owner, page.after) is None:
            raise no_such_entry()
        return json_answer(list_body([_conversation_body(one) for one in found], has_more=has_more))

    @described(TAG, CONVERSATION, says="The conversation.", errors=(*OF_STORE, InvalidRequest, ConversationNotFound))
    async def read(self, request: Request) -> Response:
        """One conversation."""
        check_query(request)
        owner, responses = await self._asked(request)
        return json_answer(_conversation_body(await _found(responses, owner, _id(request))))

    @described(
        TAG,
        CONVERSATION,
        says="The changed conversation.",
        body={"title": "ConversationChange", **fields_schema(CONVERSATION_CHANGE), "minProperties": 1},
        errors=(*OF_STORE, *OF_GRAPHS, *OF_BODY, ConversationNotFound),
    )
    async def change(self, request: Request) -> Response:
        """Replace the title or the metadata of a conversation."""
        self._posted.check_declared(request)
        check_query(request)
        owner, responses = await self._asked(request)
        conversation_id, service = _id(request), await self._gate.passed()
        change = await self._posted.parsed(request, service.parse_conversation_change)
        with missing_things():
            changed = await responses.update_conversation(
                owner, conversation_id, metadata=change.metadata, title=change.title
            )
        return json_answer(_conversation_body(changed))

    @described(
        TAG,
        deleted_schema("DeletedConversation", "conversation.deleted"),
        errors=(*OF_STORE, InvalidRequest, ConversationNotFound, ConversationBusy),
    )
    async def delete(self, request: Request) -> Response:
        """Delete a conversation with its responses and items."""
        check_query(request)
        owner, responses = await self._asked(request)
        conversation_id = _id(request)
        with missing_things():
            await responses.delete_conversation(owner, conversation_id)
        self._runs.kept.forget(owner, conversation=conversation_id)
        return json_answer({"id": conversation_id, "object": "conversation.deleted", "deleted": True})

    # -- items --------------------------------------------------------------------------------------------------

    @described(
        TAG,
        ITEMS,
        says="A page of the items.",
        parameters=(*PAGING, *INCLUDE[:1]),
        errors=(*OF_STORE, InvalidRequest, ConversationNotFound),
    )
    async def list_items(self, request: Request) -> Response:
        """The items from the beginning of the conversation to its newest response. Other branches are left out."""
        page = page_of(request, *INCLUDE)
        owner, responses = await self._asked(request)
        conversation = await _found(responses, owner, _id(request))
        items = await _items_of(responses, owner, conversation)
        entries, has_more = page_through(listed_items(items), page)
        return json_answer(list_body(entries, has_more=has_more))

    @described(
        TAG,
        ITEMS,
        says="The items that were added.",
        body={"title": "NewItems", **fields_schema(NEW_ITEMS)},
        parameters=INCLUDE[:1],
        errors=(*OF_STORE, *OF_GRAPHS, *OF_BODY, UnsupportedField, ConversationNotFound, ConversationBusy),
    )
    async def add_items(self, request: Request) -> Response:
        """Add items at the end of a conversation, without a run."""
        self._posted.check_declared(request)
        check_query(request, *INCLUDE)
        owner, responses = await self._asked(request)
        conversation_id, service = _id(request), await self._gate.passed()
        items = await self._posted.parsed(request, service.parse_new_items)
        with missing_things():
            added = await responses.add_items(owner, conversation_id, items)
        return json_answer(list_body([listed_item(item) for item in added.input], has_more=False))

    @described(
        TAG,
        wire_schemas.LISTED_ITEM,
        says="The item.",
        parameters=INCLUDE[:1],
        errors=(*OF_STORE, InvalidRequest, ConversationNotFound, ItemNotFound),
    )
    async def read_item(self, request: Request) -> Response:
        """One item of a conversation, also one of an earlier branch."""
        check_query(request, *INCLUDE)
        owner, responses = await self._asked(request)
        conversation_id, item_id = _id(request), _item_id(request)
        conversation = await _found(responses, owner, conversation_id)
        found = (await responses.items(owner, [item_id])).get(item_id)
        response = found and await _response(responses, owner, found[0])
        if found is None or response is None or response.conversation != conversation.id:
            raise ItemNotFound(NO_ITEM)
        return json_answer(listed_item(found[1]))

    @described(
        TAG,
        CONVERSATION,
        says="The conversation without the item.",
        errors=(*OF_STORE, InvalidRequest, ConversationNotFound, ItemNotFound, ConversationBusy),
    )
    async def delete_item(self, request: Request) -> Response:
        """Remove an item from a conversation, and answer with the conversation."""
        check_query(request)
        owner, responses = await self._asked(request)
        conversation_id, item_id = _id(request), _item_id(request)
        with missing_things():
            await responses.delete_item(owner, conversation_id, item_id)
        return json_answer(_conversation_body(await _found(responses, owner, conversation_id)))

    # -- branches -----------------------------------------------------------------------------------------------

    @described(
        TAG,
        list_schema("ResponseNodeList", NODE),
        says="A page of the responses.",
        parameters=PAGING,
        errors=(*OF_STORE, InvalidRequest, ConversationNotFound),
    )
    async def list_responses(self, request: Request) -> Response:
        """The responses of all branches, each with the response that it follows."""
        page = page_of(request)
        owner, responses = await self._asked(request)
        with missing_things():
            found, has_more = await responses.responses_of(owner, _id(request), page)
        if not found and page.after and await _response(responses, owner, page.after) is None:
            raise no_such_entry()
        return json_answer(list_body([self._response_body(one) for one in found], has_more=has_more))

    def _response_body(self, stored: StoredResponse) -> Mapping[str, Any]:
        """What shows a response as a node of a tree. Its items are at the address of the response."""
        return {
            "id": stored.id,
            "object": "response" if stored.kind == "response" else "items",
            "previous_response_id": stored.parent,
            "status": stored.status,
            "created_at": int(stored.created_at),
            "model": stored.graph,
            "family": stored.family,
            "trace_id": stored.trace,
            "trace_url": trace_link(self._trace_url, trace=stored.trace, response=stored.id),
            "feedback": feedback_body(stored),
        }

    async def _asked(self, request: Request) -> tuple[Owner, ResponseStore]:
        """The caller as owner, and the store."""
        owner = Owner.of(await self._identity.caller(request.headers))
        return owner, (await self._store.passed()).responses


async def _found(responses: ResponseStore, owner: Owner, conversation_id: str) -> Conversation:
    found = await responses.find_conversation(owner, conversation_id)
    if found is None:
        raise ConversationNotFound(NO_CONVERSATION)
    return found


async def _items_of(responses: ResponseStore, owner: Owner, conversation: Conversation) -> Sequence[Item]:
    if conversation.head is None:
        return []
    try:
        lineage = await responses.lineage(owner, conversation.head)
    except ResponseNotFound:
        # It was deleted since the conversation was read.
        return []
    return [item for one in lineage for item in (*one.input, *one.output)]


async def _response(responses: ResponseStore, owner: Owner, response_id: str) -> StoredResponse | None:
    with contextlib.suppress(ResponseNotFound):
        return await responses.get(owner, response_id)
    return None


def _conversation_body(conversation: Conversation) -> Mapping[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created_at),
        "updated_at": int(conversation.updated_at),
        "title": conversation.title,
        "metadata": dict(conversation.metadata),
        "last_response_id": conversation.head,
    }


def _words(request: Request) -> Sequence[str]:
    """The words that titles must contain."""
    query = request.query_params.get("query")
    if query is None:
        return ()
    words = list(dict.fromkeys(query.split()))
    if not words or len(words) > MOST_WORDS or len(query) > LONGEST_QUERY:
        message = f"`query` must be a text of at most {LONGEST_QUERY} characters and {MOST_WORDS} words"
        raise InvalidRequest(message, param="query")
    return words


def _id(request: Request) -> str:
    return id_in(request, ConversationNotFound(NO_CONVERSATION))


def _item_id(request: Request) -> str:
    return id_in(request, ItemNotFound(NO_ITEM), name="item_id")

"""Finds the place of a request in its conversation.

A stored run gets a `Turn`: the conversation, the response that it follows, and the items that are new to the
conversation. A request that is not stored may still read what is stored: the items that it refers to, and the history
that it names.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from graph_agent.errors import ConversationBusy, ConversationNotFound, InvalidRequest
from graph_agent.identity.owner import Owner
from graph_agent.protocol.content import text_of
from graph_agent.protocol.content_parts import content_of
from graph_agent.protocol.fingerprints import NO_TEXTS, Texts
from graph_agent.protocol.item_ids import with_own_ids
from graph_agent.protocol.item_shapes import REFERENCE, Item
from graph_agent.protocol.messages import messages_of
from graph_agent.protocol.questions import require_question
from graph_agent.protocol.reconcile import begins_a_turn, texts_with, unanswered_calls
from graph_agent.protocol.requests import instruction_messages
from graph_agent.runs.request import Turn
from graph_agent.stores.records import Continuation, Conversation, StoredResponse

if TYPE_CHECKING:
    from graph_agent.protocol.requests import Invocation
    from graph_agent.stores.store import ResponseStore

ISSUED = re.compile(r"conv_[0-9a-f]{24}")
"""An id of a conversation that this service chose. A client cannot create a conversation with such an id."""

LONGEST_TITLE = 60
"""Characters of a title."""

LONGEST_READ = 1_000
"""Characters of a message in which a title is looked for."""

FEW = 4
"""How many ancestors are read one by one. Nearly always the parent is enough."""


def new_conversation_id() -> str:
    """An id that nobody can guess."""
    return f"conv_{secrets.token_hex(12)}"


class Continuing:
    """Looks up what requests refer to. Several tasks may use one object."""

    def __init__(self, responses: "ResponseStore") -> None:
        self._responses = responses

    async def resolve(self, owner: Owner, invocation: "Invocation") -> "Invocation":
        """The invocation of a request that is not stored, with the messages of what it refers to.

        Raises:
            InvalidRequest: an item that the request refers to does not exist.
            ResponseNotFound, ConversationNotFound: the history that it names does not exist.
            ConversationBusy: the response that it follows is in progress.
            StoreUnavailable: the database does not answer.
        """
        if not invocation.items:
            return invocation
        items = await self._resolved(owner, invocation.items)
        parent = await self._named_parent(owner, invocation)
        history = [] if parent is None else _said(await self._responses.lineage(owner, parent.id))
        messages = messages_of([*history, *items])
        return replace(invocation, messages=[*instruction_messages(invocation.instructions), *messages], items=())

    async def plan(self, owner: Owner, invocation: "Invocation", *, graph: str) -> "tuple[Invocation, Turn]":
        """The invocation of a stored request, with the messages that are new to its conversation, and its place there.

        `graph` is the name of the graph that is going to run. A conversation goes on from a checkpoint of the same
        graph only. Another graph gets the history as messages.

        Raises:
            InvalidRequest: an item that the request refers to does not exist, or it names two conversations.
            ResponseNotFound, ConversationNotFound: what it continues does not exist.
            ConversationBusy: the response that it follows is in progress.
            StoreUnavailable: the database does not answer.
        """
        items = await self._resolved(owner, invocation.items)
        place = await self._place(owner, invocation)
        return await self._planned(owner, invocation, place, items, graph)

    # -- what the request refers to -----------------------------------------------------------------------------

    async def _resolved(self, owner: Owner, items: Sequence[Item]) -> list[Item]:
        """The items, with the stored ones in place of their references. A repeated reference counts once."""
        wanted = {item["id"]: index for index, item in reversed(list(enumerate(items))) if item["type"] == REFERENCE}
        if not wanted:
            return list(items)
        found = await self._responses.items(owner, list(wanted))
        resolved = []
        for index, item in enumerate(items):
            if item["type"] != REFERENCE:
                resolved.append(item)
            elif item["id"] not in found:
                raise InvalidRequest(
                    f"`input[{index}].id` refers to an item that is not stored. Send the item itself.",
                    param=f"input[{index}].id",
                )
            elif wanted[item["id"]] == index:
                resolved.append(found[item["id"]][1])
        require_question(resolved)
        return resolved

    # -- the place in the conversation --------------------------------------------------------------------------

    async def _named_parent(self, owner: Owner, invocation: "Invocation") -> StoredResponse | None:
        if invocation.previous_response_id is not None:
            return _ended(await self._responses.get(owner, invocation.previous_response_id))
        if invocation.conversation is not None:
            conversation = await self._issued(owner, invocation.conversation)
            return None if conversation.head is None else await self._responses.get(owner, conversation.head)
        return None

    async def _place(self, owner: Owner, invocation: "Invocation") -> "_Place":
        if invocation.previous_response_id is not None:
            parent = await self._named_parent(owner, invocation)
            assert parent is not None
            if invocation.thread not in (None, parent.conversation):
                raise InvalidRequest(
                    f"`previous_response_id` belongs to the conversation {parent.conversation!r}, and the request "
                    "names another one; send only one of them.",
                    param="previous_response_id",
                )
            return _Place(conversation=parent.conversation, thread=parent.thread, parent=parent)
        name = invocation.conversation or invocation.thread
        if name is None:
            return _Place(conversation=new_conversation_id(), thread=_new_thread(), is_new=True)
        found = await self._responses.find_conversation(owner, name)
        if found is None:
            if invocation.conversation is not None or ISSUED.fullmatch(name):
                raise _no_such_conversation()
            return _Place(conversation=name, thread=_new_thread(), is_new=True)
        parent = None if found.head is None else await self._responses.get(owner, found.head)
        return _Place(conversation=found.id, thread=found.thread, parent=parent)

    async def _issued(self, owner: Owner, name: str) -> Conversation:
        found = await self._responses.find_conversation(owner, name)
        if found is None:
            raise _no_such_conversation()
        return found

    # -- the turn -----------------------------------------------------------------------------------------------

    async def _planned(
        self, owner: Owner, invocation: "Invocation", place: "_Place", items: Sequence[Item], graph: str
    ) -> "tuple[Invocation, Turn]":
        own = with_own_ids(items)
        start = await self._start(owner, place.parent, own, graph)
        turn = Turn(
            continuation=Continuation(
                conversation=place.conversation,
                thread=place.thread,
                parent=None if place.parent is None else place.parent.id,
                checkpoint=start.checkpoint,
                is_new=place.is_new,
            ),
            items=own,
            texts=texts_with(start.texts, own),
            title=title_of(own) if place.parent is None else None,
        )
        messages = messages_of([*start.items, *own], asked=start.asked)
        return replace(invocation, messages=messages), turn

    async def _start(self, owner: Owner, parent: StoredResponse | None, own: Sequence[Item], graph: str) -> "_Start":
        """Where the graph starts, and what comes between there and the new items."""
        if parent is None:
            return _Start()
        ancestors = await self._ancestors(
            owner, parent, lambda found: None not in (_checkpoint_at(found, graph), _base_at(found, own))
        )
        start, base = _checkpoint_at(ancestors, graph), _base_at(ancestors, own)
        return _Start(
            checkpoint=None if start is None else ancestors[start].checkpoint,
            items=_said(reversed(ancestors[:start])),
            asked={} if start is None else unanswered_calls(ancestors[start].output),
            texts=texts_with(
                Texts(before=None if base is None else ancestors[base].fingerprints), _said(reversed(ancestors[:base]))
            ),
        )

    async def _ancestors(
        self, owner: Owner, parent: StoredResponse, enough: Callable[[Sequence[StoredResponse]], bool]
    ) -> Sequence[StoredResponse]:
        """`parent` and its ancestors, nearest first, until there are enough of them, or to the root."""
        found = [parent]
        while found[-1].parent is not None and not enough(found):
            if len(found) == FEW:
                return list(reversed(await self._responses.lineage(owner, parent.id)))
            found.append(await self._responses.get(owner, found[-1].parent))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The place of a request in a conversation."""

    conversation: str
    thread: str
    parent: StoredResponse | None = None
    is_new: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """Where a graph starts."""

    checkpoint: str | None = None
    items: Sequence[Item] = ()
    """What was said since that checkpoint, before the new items."""

    asked: Mapping[str, str] = field(default_factory=dict)
    """The calls at that checkpoint that wait for the client's results: call id -> tool."""

    texts: Texts = NO_TEXTS
    """All texts before the new items."""


def _checkpoint_at(ancestors: Sequence[StoredResponse], graph: str) -> int | None:
    """The index of the nearest response from whose end the graph can go on."""
    return next((n for n, one in enumerate(ancestors) if one.checkpoint is not None and one.graph == graph), None)


def _base_at(ancestors: Sequence[StoredResponse], own: Sequence[Item]) -> int | None:
    """The index of the nearest response whose fingerprints the new ones can continue.

    A person must have spoken next: what the assistant says without that belongs to the same segment.
    """
    for index, one in enumerate(ancestors):
        if one.fingerprints is not None and begins_a_turn([*_said(reversed(ancestors[:index])), *own]):
            return index
    return None


def _said(responses: Iterable[StoredResponse]) -> list[Item]:
    return [item for one in responses for item in (*one.input, *one.output)]


def _new_thread() -> str:
    return uuid4().hex


def _ended(response: StoredResponse) -> StoredResponse:
    if response.status == "in_progress":
        raise ConversationBusy(
            f"The response {response.id} is still in progress; send the request again when it has ended.",
            running=response.id,
        )
    return response


def _no_such_conversation() -> ConversationNotFound:
    return ConversationNotFound("There is no such conversation.", param="conversation")


def title_of(items: Iterable[Item]) -> str | None:
    """The first thing that a person says, on one line."""
    for item in items:
        if item["type"] == "message" and item["role"] == "user":
            line = " ".join(text_of(content_of(item["content"]))[:LONGEST_READ].split())
            if line:
                return line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1].rstrip()}…"
    return None

"""Finds the place of a request in its conversation, and the items that are new to it.

A stored run gets a `Turn`: the conversation, the response that it follows, and its new items. A request that is not
stored may still read what is stored: items that it refers to, and the history that it names.
"""

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from graph_agent.errors import (
    ApprovalNotFound,
    ConversationBusy,
    ConversationNotFound,
    InvalidEncryptedContent,
    InvalidRequest,
    ResponseNotFound,
)
from graph_agent.identity.owner import Owner
from graph_agent.protocol.call_pairing import call_id_of
from graph_agent.protocol.compaction import Compacted, Window, newest_compaction, window_of
from graph_agent.protocol.content import text_of
from graph_agent.protocol.content_parts import assistant_text, content_of
from graph_agent.protocol.fingerprints import NO_TEXTS, Texts
from graph_agent.protocol.item_ids import with_own_ids
from graph_agent.protocol.item_shapes import CALL_ID, OUTPUTS, REFERENCE, RESULT_ID, Item
from graph_agent.protocol.messages import messages_of
from graph_agent.protocol.questions import require_question
from graph_agent.protocol.reconcile import (
    answers_in,
    begins_a_turn,
    behind_request,
    end_of_history,
    has_history,
    speaks,
    texts_with,
    unanswered_calls,
)
from graph_agent.protocol.requests import instruction_messages
from graph_agent.protocol.tool_list_items import listed_before, lists_told
from graph_agent.runs.answers import AnswerReader, Reading
from graph_agent.runs.gently import run_gently
from graph_agent.runs.recognizing import Recognizing, same_question
from graph_agent.runs.request import Turn
from graph_agent.stores.records import Continuation, StoredResponse

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from graph_agent.client_tools import ToolServer
    from graph_agent.protocol.json_decoding import Pulse
    from graph_agent.protocol.requests import Invocation
    from graph_agent.runs.compacting import OwnerSealer
    from graph_agent.stores.steer_records import StoredSteer
    from graph_agent.stores.store import ResponseStore

logger = logging.getLogger(__name__)

ISSUED = re.compile(r"conv_[0-9a-f]{24}")
"""An id of a conversation that this service chose. A client cannot create a conversation with such an id."""

LONGEST_TITLE = 60
"""Characters of a title."""

MOST_LOOKED_BACK = 10
"""Responses that are looked at to find out whether the tools of a server were told. Of a longer history, they may be
told once more."""

LONGEST_READ = 1_000
"""Characters of a message in which a title is looked for."""


def new_conversation_id() -> str:
    """An id that nobody can guess."""
    return f"conv_{secrets.token_hex(12)}"


class Continuing:
    """Looks up what requests refer to. Several tasks may use one object."""

    def __init__(
        self,
        responses: "ResponseStore",
        *,
        rejects_unanswered: bool = False,
        retried: Callable[[str], Awaitable[None]] | None = None,
        writing: "Callable[[Owner, str], str | None]" = lambda owner, item: None,
        sealer: "Callable[[], Awaitable[OwnerSealer]] | None" = None,
    ) -> None:
        """With `rejects_unanswered`, a message while the graph waits for a decision counts as a rejection.

        `retried` is called with the id of a response that has failed, when its question comes again.

        `writing` is the id of the response in progress to which an item of the owner belongs.

        `sealer` opens the compacted histories of the caller. Without one, nothing of them is read.
        """
        self._sealer = sealer
        self._writing = writing
        self._responses = responses
        self._retried = retried
        self._recognizing = Recognizing(responses)
        self._answers = AnswerReader(responses, rejects_unanswered=rejects_unanswered)

    async def resolve(self, owner: Owner, invocation: "Invocation") -> "Invocation":
        """The invocation of a request that is not stored, with the messages of what it refers to.

        Raises:
            InvalidRequest: an item that the request refers to does not exist.
            InvalidEncryptedContent: a compaction of the request cannot be opened.
            ResponseNotFound, ConversationNotFound: the history that it names does not exist.
            ConversationBusy: the response that it follows, or that has such an item, is in progress.
            StoreUnavailable: the database does not answer.
        """
        if not invocation.items:
            return invocation
        read, known, stored = await self._read(owner, invocation)
        compacted = await self._compacted(read[:stored], read[stored:], first=known)
        window = window_of(read, compacted)
        labels = [one.label for one in invocation.servers]

        def messages(pulse: "Pulse") -> "list[BaseMessage]":
            first = known - stored + window.shift
            return messages_of(window.items, first=first, summaries=window.summaries, servers=labels, pulse=pulse)

        told = instruction_messages(invocation.instructions)
        listed = listed_before(invocation.servers, read)
        return replace(invocation, messages=[*told, *await run_gently(messages, window.items)], items=(), listed=listed)

    async def history(
        self, owner: Owner, items: Sequence[Item], *, previous: str | None, conversation: str | None = None
    ) -> Window:
        """What a graph would read of a stored conversation, up to the response `previous` or to its newest response,
        and of these items.

        Raises:
            InvalidRequest: an item that the items refer to does not exist.
            InvalidEncryptedContent: a compaction among the items cannot be opened.
            ResponseNotFound, ConversationNotFound: the response or the conversation does not exist.
            ConversationBusy: the response, or one that has such an item, is in progress.
            StoreUnavailable: the database does not answer.
        """
        items = await self._resolved(owner, items, asking=False)
        said, known = list[Item](), 0
        if conversation is not None:
            found = await self._responses.find_conversation(owner, conversation)
            if found is None:
                raise ConversationNotFound("There is no such conversation, or it is not yours.", param="conversation")
            previous = found.head
        if previous is not None:
            known = (await self._after(owner, previous, None, items)).known
            said = _said(await self._responses.lineage(owner, previous))
        compacted = await self._compacted(said, items[known:], first=known)
        return window_of([*said, *items[known:]], compacted)

    async def with_history(self, owner: Owner, invocation: "Invocation") -> "Invocation":
        """The invocation with the items of the history that it names in place of that name, and with the items to which
        it refers. Raises as `resolve` does."""
        read, _, _ = await self._read(owner, invocation)
        return replace(invocation, items=read, previous_response_id=None, conversation=None, from_beginning=False)

    async def _read(self, owner: Owner, invocation: "Invocation") -> tuple[Sequence[Item], int, int]:
        """All items that a request means, how many of its own are left out because the history has them, and how many
        are of the history."""
        items = await self._resolved(owner, invocation.items)
        place = await self._place(owner, invocation, items, recognize=True)
        history = [] if place.parent is None else _said(await self._responses.lineage(owner, place.parent.id))
        return [*history, *items[place.known :]], place.known, len(history)

    async def plan(
        self,
        owner: Owner,
        invocation: "Invocation",
        *,
        graph: str,
        keeps_messages: bool = True,
        recognize: bool = True,
    ) -> "tuple[Invocation, Turn]":
        """The invocation of a stored request, with the messages that are new to its conversation, and its place there.

        `graph` is the name of the graph that is going to run. A conversation continues from a checkpoint of the same
        graph only. Another graph gets the history as messages, and so does one that does not keep messages.

        Without `recognize`, a request that names no conversation starts a new one with everything that it resends. That
        is the way out if `Turn.inferred` and the conversation is busy.

        Raises:
            InvalidRequest: an item that the request refers to does not exist, or it names two conversations.
            InvalidEncryptedContent: a compaction of the request cannot be opened.
            ResponseNotFound, ConversationNotFound: what it continues does not exist.
            ApprovalNotFound, ApprovalAnswered: it answers an approval that does not exist, or not the first time.
            ConversationBusy: the response that it follows, or that has such an item, is in progress.
            StoreUnavailable: the database does not answer.
        """
        items = await self._resolved(owner, invocation.items)
        place = await self._place(owner, invocation, items, recognize=recognize)
        place, said = await self._answered(owner, invocation, place, items, graph)
        if said.repeats is None and said.answers is not None:
            await self._answers.require_servers(owner, said.answers, invocation.servers)
        new = [item for item in items[place.known :] if not said.resends(item)]
        # An answer reaches only a graph that goes on where it waits.
        continues = keeps_messages or (said.answers is not None and said.answers.resume)
        if place.parent is not None and continues and _has_read(place.parent, graph):
            new = _without_repeated(place.parent, new)
        if not invocation.generate and said.answers is not None and said.answers.resume:
            raise InvalidRequest(
                "`generate` must not be false with an answer for which the graph waits: leave one of them out.",
                param="generate",
            )
        queued = await self._queued(owner, place, said)
        new = _with_queued(new, queued)
        start = await self._start(owner, place, new, graph if continues else None)
        told = [item for item in start.items if not said.covers(item)]
        compacted = await self._compacted(told, new, first=place.known)
        if invocation.checks_calls:
            _require_calls(items, place, start, sealed=() if compacted is None else compacted.items)
        if not items and invocation.generate:
            # The request goes on with what was said before.
            require_question(start.items)
        if compacted is not None:
            # What the graph's state has is summarized, and so are the calls and texts at its end.
            start = replace(start, asked={}, unfinished={})

        def read(pulse: "Pulse") -> "tuple[list[Item], list[BaseMessage], Texts]":
            own = with_own_ids(new, pulse=pulse)
            before = texts_with(start.base, start.unread, pulse=pulse)
            window = window_of([*told, *(item for item in own if not said.covers(item))], compacted)
            first = place.known - len(told) - len(said_meanwhile) + window.shift
            messages = messages_of(
                window.items,
                asked=start.asked,
                first=first,
                summaries=window.summaries,
                servers=[one.label for one in invocation.servers],
                pulse=pulse,
            )
            return own, messages, texts_with(before, own, pulse=pulse)

        said_meanwhile = [item for one in queued for item in one.input]
        own, messages, texts = await run_gently(read, [*start.items, *start.unread, *new])
        turn = Turn(
            continuation=Continuation(
                conversation=place.conversation,
                thread=place.thread,
                parent=None if place.parent is None else place.parent.id,
                checkpoint=start.checkpoint,
                is_new=place.is_new,
                at_head=place.at_head,
            ),
            items=own,
            texts=texts,
            unfinished=start.unfinished,
            # Only this conversation waits for the answers.
            inferred=place.inferred and said.answers is None and said.repeats is None,
            title=title_of(own) if place.parent is None else None,
            answers=said.answers,
            sent_calls=start.asked,
            replaces=compacted is not None,
            steers=tuple(one.id for one in queued),
            repeats=said.repeats,
        )
        listed = await self._listed(owner, invocation.servers, items, place.parent)
        return replace(invocation, messages=messages, items=(), listed=listed), turn

    async def _listed(
        self, owner: Owner, servers: "Sequence[ToolServer]", items: Sequence[Item], parent: StoredResponse | None
    ) -> tuple[str, ...]:
        """The labels of the servers whose tools the history lists already: in these items, or in the nearest response
        that says something of the server."""
        told = set(listed_before(servers, items))
        left = [one for one in servers if one.label not in told]
        for number in range(MOST_LOOKED_BACK):
            if number and left and parent is not None:
                parent = await self._before(owner, parent)
            if not left or parent is None:
                break
            # A response for clients that know no such item has told nothing.
            said = lists_told(parent.response or {}, left) if parent.family == "openai" else {}
            told |= {label for label, is_told in said.items() if is_told}
            left = [one for one in left if one.label not in said]
        return tuple(one.label for one in servers if one.label in told)

    async def _before(self, owner: Owner, response: StoredResponse) -> StoredResponse | None:
        try:
            return None if response.parent is None else await self._responses.get(owner, response.parent)
        except ResponseNotFound:
            # It was deleted just now.
            return None

    # -- what the request refers to -----------------------------------------------------------------------------

    async def _compacted(self, stored: Sequence[Item], new: Sequence[Item], *, first: int = 0) -> Compacted | None:
        """What the newest compaction among these items says. `first` is the place of the first new item in the request.

        A stored compaction whose key is gone is passed over: the store has what it stands for.
        """
        items = [*stored, *new]
        index = newest_compaction(items)
        if index is None or self._sealer is None:
            return None
        sealer = await self._sealer()
        place = index - len(stored)
        try:
            return await sealer.opened(items[index], path=f"input[{first + place}]")
        except InvalidEncryptedContent:
            if place >= 0:
                raise
            logger.warning("a compaction of a stored conversation cannot be opened; the whole conversation is read")
            return None

    async def _resolved(self, owner: Owner, items: Sequence[Item], *, asking: bool = True) -> Sequence[Item]:
        """The items, with the stored ones in place of their references. A repeated reference counts once. With
        `asking`, one of them must ask for an answer."""
        wanted: dict[str, int] = {}
        for index, item in enumerate(items):
            if item["type"] == REFERENCE:
                wanted.setdefault(item["id"], index)
        if not wanted:
            return items
        found = await self._responses.items(owner, list(wanted))
        resolved = []
        for index, item in enumerate(items):
            if item["type"] != REFERENCE:
                resolved.append(item)
            elif item["id"] not in found:
                # A client that has left refers to what it has read, before that is stored.
                if (running := self._writing(owner, item["id"])) is not None:
                    raise _in_progress(running)
                raise InvalidRequest(
                    f"`input[{index}].id` refers to an item that is not stored. Send the item itself.",
                    param=f"input[{index}].id",
                )
            elif wanted[item["id"]] == index:
                resolved.append(found[item["id"]][1])
        if asking:
            require_question(resolved)
        return resolved

    # -- the place in the conversation --------------------------------------------------------------------------

    async def _place(
        self, owner: Owner, invocation: "Invocation", items: Sequence[Item], *, recognize: bool
    ) -> "_Place":
        # Where nothing is stored, an id that the client chose is for the graph and says nothing about a history.
        thread = invocation.thread if invocation.stored else None
        if invocation.previous_response_id is not None:
            return await self._after(owner, invocation.previous_response_id, thread, items)
        name = invocation.conversation or thread
        if name is not None:
            return await self._in(
                owner,
                name,
                must_exist=invocation.conversation is not None,
                from_beginning=invocation.from_beginning,
                items=items,
            )
        found = await self._recognizing.parent(owner, items) if recognize and invocation.stored else None
        if found is None:
            return _Place(conversation=new_conversation_id(), thread=_new_thread(), is_new=True)
        return _Place.after(found.parent, known=found.known, inferred=True)

    async def _after(self, owner: Owner, previous: str, thread: str | None, items: Sequence[Item]) -> "_Place":
        """The place behind the response that the request names."""
        parent = await self._responses.get(owner, previous)
        if parent.is_open:
            raise _in_progress(parent.id)
        if thread not in (None, parent.conversation):
            raise InvalidRequest(
                "`previous_response_id` belongs to another conversation than the one that `context` or "
                "`custom_inputs` names; send only one of them.",
                param="previous_response_id",
            )
        known = await self._recognizing.known_of(owner, parent, items)
        return _Place.after(parent, known=known)

    async def _in(
        self, owner: Owner, name: str, *, must_exist: bool, from_beginning: bool, items: Sequence[Item]
    ) -> "_Place":
        """The place in the conversation that the request names."""
        conversation = await self._responses.find_conversation(owner, name)
        if conversation is None:
            if must_exist or ISSUED.fullmatch(name):
                raise ConversationNotFound("There is no such conversation, or it is not yours.", param="conversation")
            return _Place(conversation=name, thread=_new_thread(), is_new=True)
        root = _Place(conversation=conversation.id, thread=conversation.thread)
        if conversation.head is None:
            return replace(root, at_head=True)
        if from_beginning:
            return root
        found = await self._recognizing.parent(owner, items, conversation=conversation.id)
        if found is not None:
            return _Place.after(found.parent, known=found.known)
        head = await self._responses.get(owner, conversation.head)
        known = end_of_history(items, 0, head.output)
        if has_history(items[known:]):
            # A history that the conversation does not know, so it begins there.
            return root
        if head.status in ("failed", "cancelled") and await same_question(head.input, items):
            # The client tries again.
            if head.status == "failed" and self._retried is not None:
                await self._retried(head.id)
            return root if head.parent is None else _Place.after(await self._responses.get(owner, head.parent))
        known = known or await self._recognizing.known_questions(owner, head, items)
        return _Place.after(head, known=known, at_head=True)

    async def _answered(
        self, owner: Owner, invocation: "Invocation", place: "_Place", items: Sequence[Item], graph: str
    ) -> "tuple[_Place, Reading]":
        """What the request answers, and its place: an answer follows the response that asked."""
        said = await self._answers.read(owner, place.parent, items, start=place.known, graph=graph)
        while invocation.previous_response_id is None and place.parent and (later := said.continued_by):
            known = end_of_history(
                items, place.known, [*place.parent.output, *later.output], told=answers_in(later.input)
            )
            place = _Place.after(later, known=known, inferred=place.inferred)
            said = await self._answers.read(owner, later, items, start=known, graph=graph)
        if (approval := said.elsewhere) is None:
            return place, said
        names_a_place = invocation.conversation or invocation.thread
        if invocation.previous_response_id is None and (
            not names_a_place or approval.conversation == place.conversation
        ):
            asking = await self._responses.get(owner, approval.response)
            place = _Place.after(asking, known=behind_request(items, approval.id))
            said = await self._answers.read(owner, asking, items, start=place.known, graph=graph)
        if said.elsewhere is not None:
            raise ApprovalNotFound("an answer belongs to another place than the one that the request names")
        return place, said

    async def _queued(self, owner: Owner, place: "_Place", said: Reading) -> "Sequence[StoredSteer]":
        """What the response that the request follows was steered with, if it waited for the request."""
        if place.parent is None or not place.parent.steers or said.repeats is not None:
            return ()
        steers = await self._responses.steers(owner, place.parent.id)
        return [one for one in steers if one.status == "queued"]

    # -- where the graph starts ---------------------------------------------------------------------------------

    async def _start(self, owner: Owner, place: "_Place", new: Sequence[Item], graph: str | None) -> "_Start":
        """Where the graph starts, and what comes between there and the new items."""
        if place.parent is None:
            return _Start()
        ancestors = [place.parent]
        if place.parent.parent is not None and None in _ends(ancestors, new, graph):
            ancestors = list(reversed(await self._responses.lineage(owner, place.parent.id, since_checkpoint=True)))
        if ancestors[-1].parent is not None and None in _ends(ancestors, new, graph):
            ancestors = list(reversed(await self._responses.lineage(owner, place.parent.id)))
        start, base = _ends(ancestors, new, graph)
        return _Start(
            checkpoint=None if start is None else ancestors[start].checkpoint,
            items=[*_unread([] if start is None else [ancestors[start]]), *_said(reversed(ancestors[:start]))],
            asked={} if start is None else unanswered_calls(ancestors[start].output),
            unfinished={} if start is None else _unfinished(ancestors[start]),
            base=NO_TEXTS if base is None else Texts(before=ancestors[base].fingerprints),
            unread=_said(reversed(ancestors[:base])),
        )


def _in_progress(response_id: str) -> ConversationBusy:
    return ConversationBusy(
        f"The response {response_id} is still in progress; send the request again when it has ended.",
        running=response_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The place of a request in a conversation."""

    conversation: str
    thread: str
    parent: StoredResponse | None = None
    known: int = 0
    """How many items of the request the conversation already has."""

    is_new: bool = False
    at_head: bool = False
    inferred: bool = False

    @classmethod
    def after(
        cls, parent: StoredResponse, *, known: int = 0, at_head: bool = False, inferred: bool = False
    ) -> "_Place":
        return cls(
            conversation=parent.conversation,
            thread=parent.thread,
            parent=parent,
            known=known,
            at_head=at_head,
            inferred=inferred,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """Where a graph starts."""

    checkpoint: str | None = None
    items: Sequence[Item] = ()
    """What was said since that checkpoint, before the new items."""

    asked: Mapping[str, str] = field(default_factory=dict)
    """The calls at that checkpoint that wait for the client's results: call id -> tool."""

    unfinished: Mapping[str, str] = field(default_factory=dict)
    """See `Turn.unfinished`."""

    base: Texts = NO_TEXTS
    """The texts up to the nearest response whose fingerprints can be continued."""

    unread: Sequence[Item] = ()
    """What was said since that response, before the new items."""


def _has_read(response: StoredResponse, graph: str) -> bool:
    """Whether a graph can continue from the checkpoint of a response."""
    return response.checkpoint is not None and response.graph == graph


def _without_repeated(parent: StoredResponse, new: list[Item]) -> list[Item]:
    """The new items without results that the graph has read in `parent`. Nothing waits for them any more, and a model
    endpoint refuses two calls with one id.

    Raises:
        InvalidRequest: there is nothing else.
    """
    asked = {call_id_of(item) for item in (*parent.output, *new) if item["type"] in CALL_ID}
    told = {item["call_id"] for item in parent.input if item["type"] in OUTPUTS} - asked
    left = [item for item in new if item["type"] not in OUTPUTS or item["call_id"] not in told]
    if new and not left:
        raise InvalidRequest(
            f"`input` has only results that the response {parent.id} was given: read that response, or send what is "
            "new.",
            param="input",
        )
    return left


def _require_calls(items: Sequence[Item], place: _Place, start: _Start, *, sealed: Sequence[Item] = ()) -> None:
    """Check that each new result belongs to a call that the graph has made. `sealed` are the items of a compaction.

    Raises:
        InvalidRequest: it does not.
    """
    said = [*(() if place.parent is None else place.parent.output), *start.items, *sealed, *items]
    calls = {*start.asked, *(call_id_of(item) for item in said if item["type"] in CALL_ID)}
    for index, item in enumerate(items[place.known :], place.known):
        if item["type"] in OUTPUTS and item["call_id"] not in calls:
            path = f"input[{index}].call_id"
            raise InvalidRequest(
                f"`{path}` is not the id of a call that waits for its result: send the result behind the response that "
                "made the call, or the call itself in `input`.",
                param=path,
            )


def _with_queued(new: list[Item], queued: "Sequence[StoredSteer]") -> list[Item]:
    """The new items with the messages that were queued. Results come first, because they follow their calls."""
    if not queued:
        return new
    results = next((n for n, item in enumerate(new) if item["type"] not in RESULT_ID), len(new))
    return [*new[:results], *(dict(item) for one in queued for item in one.input), *new[results:]]


def _ends(ancestors: Sequence[StoredResponse], new: Sequence[Item], graph: str | None) -> tuple[int | None, int | None]:
    """Among a response and its ancestors, the nearest one first: the index of the one from whose checkpoint the graph
    can continue, and of the one whose fingerprints the new ones can continue."""
    start = next((n for n, one in enumerate(ancestors) if graph is not None and _has_read(one, graph)), None)
    base = next(
        (
            n
            for n, one in enumerate(ancestors)
            # Somebody else must speak next: what the assistant says first belongs to its segment before. And a response
            # without a text of its own may end in the middle of a segment.
            if one.fingerprints is not None
            and speaks(one.output)
            and begins_a_turn([*_said(reversed(ancestors[:n])), *new])
        ),
        None,
    )
    return start, base


def _unfinished(response: StoredResponse) -> dict[str, str]:
    return unfinished_texts(response.status, response.output, response.messages)


def unfinished_texts(status: str, output: Sequence[Item], ids: Mapping[str, str]) -> dict[str, str]:
    """What a response has said that may not be in the graph's state: id of the message -> text. Where their ids differ,
    `ids` says which message of the state an item is."""
    if status == "completed":
        return {}
    messages = [item for item in output if item["type"] == "message"]
    texts = {ids.get(item["id"], item["id"]): assistant_text(item["content"]) for item in messages}
    return {message_id: text for message_id, text in texts.items() if text.strip()}


def _said(responses: Iterable[StoredResponse]) -> list[Item]:
    return [item for one in responses for item in (*one.input, *one.output)]


def _unread(responses: Sequence[StoredResponse]) -> Iterable[Item]:
    """The items of a response that its graph has not read, because it waits for a decision."""
    return [item for one in responses for item in one.input if one.waiting is not None and one.waiting.unread]


def _new_thread() -> str:
    return uuid4().hex


def title_of(items: Iterable[Item]) -> str | None:
    """The first thing that a person says, on one line."""
    for item in items:
        if item["type"] == "message" and item["role"] == "user":
            line = " ".join(text_of(content_of(item["content"]))[:LONGEST_READ].split())
            if line:
                return line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1].rstrip()}…"
    return None

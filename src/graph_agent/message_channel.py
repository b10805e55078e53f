"""The channel of a conversation's messages: checkpoints hold what is new, and a snapshot now and then.

LangGraph's `add_messages` writes the whole list at every checkpoint, so a long conversation grows with the square of
its turns.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Self
from uuid import NAMESPACE_OID, uuid5

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
    message_chunk_to_message,
)
from langgraph.channels.binop import BinaryOperatorAggregate
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import PendingWrite
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages

from graph_agent.known_messages import KnownMessages

SNAPSHOT_FREQUENCY = 1_000
"""Updates of the messages between two snapshots. A turn with one tool call has four.

Measured with 1,000 turns of four messages and 2.7 KB on SQLite: a turn stores 64 KB on average with a snapshot after
every 100 updates, 22 KB with 400, and 14 KB with 1,000. The time to read the state does not depend on it much: most of
it is spent on making the messages.
"""

PLAIN = frozenset((AIMessage, HumanMessage, SystemMessage, ToolMessage))
"""Messages that are appended as they are, if their id is new."""


_ID = attrgetter("id")


class MessagesChannel(DeltaChannel[list[Any]]):
    """A `DeltaChannel` that takes the place of a channel with `add_messages`."""

    def __eq__(self, other: object) -> bool:
        # LangGraph compares the channels of a graph's state with those of its nodes. A node of this graph may declare
        # `MessagesState` as its state.
        if isinstance(other, BinaryOperatorAggregate):
            return other.operator is add_messages
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    _known: tuple[list[Any], KnownMessages] | None = None
    """A list of messages, and what is known of them."""

    def knowing(self, messages: list[Any], known: KnownMessages) -> Self:
        """A channel like this one, which need not look at the messages of this list when it starts with them."""
        channel = self.copy()
        channel._known = (messages, known)
        return channel

    def copy(self) -> Self:
        """See `DeltaChannel.copy`."""
        channel = super().copy()
        if (known := self._known_now()) is not None:
            channel._known = (channel.value, known)
        return channel

    def from_checkpoint(self, checkpoint: Any) -> Self:
        """See `DeltaChannel.from_checkpoint`."""
        channel = super().from_checkpoint(checkpoint)
        if self._known is not None and self._known[0] is channel.value:
            channel._known = self._known
        return channel

    def update(self, values: Sequence[Any]) -> bool:
        """Apply the writes of one step; see `DeltaChannel.update`."""
        return self._append(values) or super().update(values)

    def replay_writes(self, writes: Sequence[PendingWrite]) -> None:
        """Apply writes from the oldest to the newest; see `DeltaChannel.replay_writes`."""
        if not self._append([value for _, _, value in writes]):
            super().replay_writes(writes)

    @property
    def known(self) -> KnownMessages | None:
        """What is known of the messages. `None` if one has no id or that of another, or if it is no message object."""
        known = self._known_now()
        if known is None and isinstance(self.value, list):
            try:
                known = KnownMessages(self.value)
            except AttributeError:
                return None
            self._known = (self.value, known)
        return known if known is not None and known.are_distinct else None

    def _known_now(self) -> KnownMessages | None:
        # A node may add to the list in place.
        if self._known is None or self._known[0] is not self.value or self._known[1].count != len(self.value):
            return None
        return self._known[1]

    def _append(self, values: Sequence[Any]) -> bool:
        """Append what was written, if it is only new messages. Nearly all steps write nothing else, and a long
        conversation is passed through as seldom as possible."""
        added = [one for value in values for one in (value if type(value) is list else [value])]
        if not added or not all(type(one) in PLAIN and one.id for one in added) or (known := self.known) is None:
            return False
        now = known.and_then(added)
        if not now.are_distinct:
            return False
        self.value = [*self.value, *added]
        self._known = (self.value, now)
        return True


def merge_messages(messages: Sequence[Any], writes: Sequence[Any]) -> list[BaseMessage]:
    """The list after all writes, each as with `add_messages`: a message replaces the one with its id, `RemoveMessage`
    removes one or all, and everything else is appended.

    LangGraph repeats writes when it reads a checkpoint, in batches of any size. So the result depends on nothing else:
    a message without an id gets one that follows from its text and its place. Removing an unknown message does
    nothing, because an error here would make the conversation unreadable.
    """
    # A list that was overwritten, or that a request sent, may hold messages as dictionaries, and without ids.
    merged: list[BaseMessage] = []
    places: dict[str, int] = {}
    try:
        # Nearly always. This runs at each step of a run, so it passes through a long conversation only once.
        places = dict(zip(map(_ID, messages), range(len(messages)), strict=True))
        merged = list(messages)
    except AttributeError:
        places = {"": 0}
    if "" in places or None in places:
        merged, places = [], {}
        for one in _as_messages(messages):
            _put(merged, places, one)
    for write in writes:
        plain = _plain(write)
        if plain is not None and plain.id not in places:
            # Nearly every write. A long conversation is read many times, so the rest of the loop would count.
            places[str(plain.id)] = len(merged)
            merged.append(plain)
            continue
        added = _as_messages(write if isinstance(write, list | tuple) and not _is_pair(write) else [write])
        for place in range(len(added) - 1, -1, -1):
            if added[place].id == REMOVE_ALL_MESSAGES and isinstance(added[place], RemoveMessage):
                merged, places, added = [], {}, added[place + 1 :]
                break
        removed: set[str | None] = set()
        for one in added:
            if isinstance(one, RemoveMessage):
                removed.add(one.id)
            else:
                _put(merged, places, message_chunk_to_message(one) if isinstance(one, BaseMessageChunk) else one)
                removed.discard(one.id)
        # Not `isdisjoint`, which would look at every message.
        if any(one in places for one in removed):
            merged = [one for one in merged if one.id not in removed]
            places = {str(one.id): place for place, one in enumerate(merged)}
    return merged


def _plain(write: Any) -> BaseMessage | None:
    """The message, if one with an id was written that is appended as it is."""
    one = write[0] if type(write) is list and len(write) == 1 else write
    return one if type(one) in PLAIN and one.id else None


def _put(merged: list[BaseMessage], places: dict[str, int], message: BaseMessage) -> None:
    if not message.id:
        before = merged[-1].id if merged else ""
        # The message before it differs for each of two equal messages.
        made = str(uuid5(NAMESPACE_OID, f"{before} {message.type} {message.content}"))
        message = message.model_copy(update={"id": made})
    identity = str(message.id)
    if identity in places:
        merged[places[identity]] = message
    else:
        places[identity] = len(merged)
        merged.append(message)


def _as_messages(values: Sequence[Any]) -> list[BaseMessage]:
    """A new list of the messages."""
    if all(isinstance(one, BaseMessage) for one in values):
        return list(values)
    return convert_to_messages(values)


def _is_pair(write: Any) -> bool:
    """Whether a tuple is one message, as role and text."""
    return isinstance(write, tuple) and len(write) == 2 and all(isinstance(one, str) for one in write)

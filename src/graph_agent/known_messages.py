"""What a run asks about the messages of a long conversation: whether one has an id, and which ask for a call.

A conversation has thousands of messages and is asked many times in each turn. Looking at every message takes a
microsecond each, because none of them is in the processor's cache. So a turn looks only at those that are new.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Self

from langchain_core.messages import AIMessage, BaseMessage

MOST_NEW = 256
"""The most ids that are copied when a message is added."""

_ID = attrgetter("id")

_Asking = Mapping[str, Sequence[AIMessage]]

_NO_IDS: frozenset[Any] = frozenset()
"""One for all: Python makes each empty set anew, and each run has several."""


class KnownMessages:
    """Messages by their ids, and by the ids of the calls that they ask for. It never changes."""

    __slots__ = ("_asking", "_ids", "_new_asking", "_new_ids", "count", "last")

    def __init__(self, messages: Iterable[BaseMessage] = ()) -> None:
        """
        Raises:
            AttributeError: one is not a message.
        """
        messages = list(messages)
        self._ids = _ids_of(messages)
        self._asking: _Asking = _asking_of(messages, {})
        self._new_ids = _NO_IDS
        self._new_asking: _Asking = {}
        self.count = len(messages)
        """How many messages there are."""
        self.last = messages[-1] if messages else None

    def and_then(self, messages: Sequence[BaseMessage]) -> Self:
        """These messages and more. Takes time in what is new, and now and then in all messages.

        Raises:
            AttributeError: one is not a message.
        """
        if not messages:
            return self
        made = object.__new__(type(self))
        made._ids, made._asking = self._ids, self._asking
        made._new_ids = self._new_ids | (_ids_of(messages) - self._ids)
        made._new_asking = _asking_of(messages, self._new_asking)
        made.count, made.last = self.count + len(messages), messages[-1]
        if len(made._new_ids) > MOST_NEW:
            made._ids = made._ids | made._new_ids
            made._asking = {**made._asking, **{one: made.asking(one) for one in made._new_asking}}
            made._new_ids, made._new_asking = _NO_IDS, {}
        return made

    def behind(self, message: BaseMessage) -> Self:
        """A message, and these behind it."""
        made = self.and_then([message])
        made.last = self.last or message
        return made

    @property
    def are_distinct(self) -> bool:
        """Whether every message has an id of its own."""
        return len(self._ids) + len(self._new_ids) == self.count

    def has(self, message_id: str | None) -> bool:
        """Whether a message has this id."""
        return message_id in self._new_ids or message_id in self._ids

    def asking(self, call_id: str) -> Sequence[AIMessage]:
        """The messages that ask for a call with this id, in their order. Calls without an id have an empty one."""
        return [*self._asking.get(call_id, ()), *self._new_asking.get(call_id, ())]

    def asks(self, call_id: str) -> bool:
        """Whether a message asks for a call with this id."""
        return call_id in self._new_asking or call_id in self._asking


def _ids_of(messages: Iterable[BaseMessage]) -> frozenset[Any]:
    return frozenset(map(_ID, messages)) - {None, ""} or _NO_IDS


def _asking_of(messages: Sequence[BaseMessage], before: _Asking) -> _Asking:
    # By their types, because `isinstance` is slow for messages.
    kinds = {kind for kind in set(map(type, messages)) if issubclass(kind, AIMessage)}
    if not kinds:
        return before
    asking: dict[str, list[AIMessage]] = {}
    for one in messages:
        if type(one) in kinds:
            for call in one.tool_calls:  # type: ignore[attr-defined]
                found = asking.setdefault(call["id"] or "", [])
                # A message may ask twice under one id.
                if not found or found[-1] is not one:
                    found.append(one)  # type: ignore[arg-type]
    return {**before, **{one: [*before.get(one, ()), *found] for one, found in asking.items()}}


NONE_KNOWN = KnownMessages()
"""No messages."""

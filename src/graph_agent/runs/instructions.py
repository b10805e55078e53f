"""Instructions that stand first in what the models of one run see, and in no checkpoint.

Clients send instructions with every turn. In the state they would stay as system messages in the middle of the history.
So the `messages` channel of the run shows them before its messages, and drops them from what nodes write back: many
nodes return the whole list. A saver calls `without` for everything that it writes, because graphs within the graph get
the list as their input, and some channels and tasks are stored as they were seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from langchain_core.messages import BaseMessage, SystemMessage
from langgraph.channels.base import BaseChannel
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Command, Overwrite, Send

MESSAGES = "messages"

DEEPEST = 6
"""How deep in a value of the state messages are searched. A task's input has them at the second level."""


def is_instructable(channels: Mapping[str, Any]) -> bool:
    """Whether a graph with these channels has a list of messages that instructions can stand before."""
    channel = channels.get(MESSAGES)
    return isinstance(channel, BaseChannel) and hasattr(channel, "value")


def with_instructions(channels: Mapping[str, Any], message: SystemMessage) -> dict[str, Any]:
    """The channels of a run that sees `message` before all other messages."""
    return {**channels, MESSAGES: _instructed(channels[MESSAGES], message)}


def show_in(checkpoint: Mapping[str, Any], message: SystemMessage) -> None:
    """Put the message before the stored messages of a graph within the graph, which has no channel of ours."""
    values = checkpoint["channel_values"]
    if isinstance(values.get(MESSAGES), list):
        values[MESSAGES] = [message, *values[MESSAGES]]


def without(value: Any, message_id: str, *, depth: int = DEEPEST) -> Any:
    """The value without the message of that id. A value that does not contain it is returned as it is."""
    if depth == 0:
        return value

    def cleaned(inner: Any) -> Any:
        return without(inner, message_id, depth=depth - 1)

    # Not subclasses, which may be built in another way.
    kind = type(value)
    if kind is list or kind is tuple:
        kept = [cleaned(one) for one in value if not is_message(one, message_id)]
        return value if _same(kept, value) else kind(kept)
    if kind is dict:
        values = [cleaned(one) for one in value.values()]
        return value if _same(values, list(value.values())) else dict(zip(value, values, strict=True))
    if kind is _DeltaSnapshot or kind is Overwrite:
        inner = cleaned(value.value)
        return value if inner is value.value else kind(inner)
    if kind is Send:
        argument = cleaned(value.arg)
        return value if argument is value.arg else Send(value.node, argument, timeout=value.timeout)
    if kind is Command:
        return replace(value, update=cleaned(value.update), goto=cleaned(value.goto))
    return value


def is_message(value: Any, message_id: str) -> bool:
    """Whether the value is the message of that id, or says to remove it."""
    if isinstance(value, BaseMessage):
        return value.id == message_id
    return isinstance(value, Mapping) and value.get("id") == message_id


def _same(kept: Sequence[Any], before: Sequence[Any]) -> bool:
    return len(kept) == len(before) and all(one is other for one, other in zip(kept, before, strict=True))


class _Instructed:
    """What a channel of a run with instructions does differently. It stands before the channel's own class."""

    __slots__ = ()

    instructions: SystemMessage

    def get(self) -> Any:
        messages = super().get()  # type: ignore[misc]
        return [self.instructions, *messages] if isinstance(messages, list | tuple) else messages

    def update(self, values: Sequence[Any]) -> bool:
        message_id = self.instructions.id or ""
        kept = [without(one, message_id) for one in values if not is_message(one, message_id)]
        changed: bool = super().update(kept)  # type: ignore[misc]
        # A node that returned only the instructions has written, although nothing has changed.
        return changed or bool(values)

    def copy(self) -> Any:
        return self._carried(super().copy())  # type: ignore[misc]

    def from_checkpoint(self, checkpoint: Any) -> Any:
        return self._carried(super().from_checkpoint(checkpoint))  # type: ignore[misc]

    def _carried(self, channel: Any) -> Any:
        channel.instructions = self.instructions
        return channel


def _instructed(channel: Any, message: SystemMessage) -> Any:
    kind: Any = type(channel)
    made = object.__new__(_class_for(kind))
    for base in type(channel).__mro__:
        for name in getattr(base, "__slots__", ()):
            if hasattr(channel, name):
                setattr(made, name, getattr(channel, name))
    for name, value in getattr(channel, "__dict__", {}).items():
        setattr(made, name, value)
    made.instructions = message
    return made


@cache
def _class_for(kind: Any) -> Any:
    """A class for each kind of channel, because LangGraph recognizes channels by their class."""
    return type(f"Instructed{kind.__name__}", (_Instructed, kind), {"__slots__": ("instructions",)})

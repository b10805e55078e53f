"""The messages of the conversations that this process has written last, so that the next turn need not make them again.

Making the messages of a long conversation from what is stored takes most of the time of a turn. The store stays the
truth: the messages are used only for the checkpoint after which they were kept, and checkpoints never change.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from graph_agent.known_messages import KnownMessages

MOST_BYTES = 64_000_000
"""The most text of all conversations together. The messages themselves take a few times as much."""

MESSAGE_BYTES = 1_000
"""What a message counts besides its text."""


class RecentMessages:
    """The value of the channel `messages` after the newest checkpoint of each thread. The least recent are dropped."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, tuple[str, list[BaseMessage], int, KnownMessages | None]] = OrderedDict()

    def find(self, thread: str, checkpoint: str) -> list[BaseMessage] | None:
        """A new list of the messages after that checkpoint, or `None`."""
        kept = self._kept.get(thread)
        if kept is None or kept[0] != checkpoint:
            return None
        self._kept.move_to_end(thread)
        return list(kept[1])

    def known(self, thread: str, checkpoint: str) -> KnownMessages | None:
        """What is known of the messages after that checkpoint, if that was kept with them."""
        kept = self._kept.get(thread)
        return None if kept is None or kept[0] != checkpoint else kept[3]

    def keep(self, thread: str, checkpoint: str, messages: Sequence[Any], known: KnownMessages | None = None) -> None:
        """Keep the messages after a checkpoint, and what is `known` of them, in place of those after an earlier one."""
        before, size = self._before(thread, messages)
        self.drop(thread)
        added = messages[before:]
        if not all(isinstance(one, BaseMessage) for one in added):
            return
        size += sum(map(_size, added))
        if size > self._most:
            return
        self._kept[thread] = (checkpoint, list(messages), size, known)
        self._bytes += size
        while self._bytes > self._most:
            self.drop(next(iter(self._kept)))

    def _before(self, thread: str, messages: Sequence[Any]) -> tuple[int, int]:
        """How many of the first messages were kept before, and their size: a conversation mostly grows at its end."""
        kept = self._kept.get(thread)
        count = len(kept[1]) if kept else 0
        if kept is None or not 0 < count <= len(messages) or messages[count - 1] is not kept[1][-1]:
            return 0, 0
        return count, kept[2]

    def drop(self, thread: str) -> None:
        """Forget a thread."""
        kept = self._kept.pop(thread, None)
        if kept is not None:
            self._bytes -= kept[2]


def _size(message: BaseMessage) -> int:
    content = message.content
    return MESSAGE_BYTES + (len(content) if isinstance(content, str) else _size_of(content))


def _size_of(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_size_of, value.values()))
    return sum(map(_size_of, value)) if isinstance(value, list | tuple) else 8

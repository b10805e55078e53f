"""The events of a run: numbered and encoded once, kept in memory, and read by any number of readers from any number."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import orjson

from graph_agent.protocol.events import DOCUMENTS, NODE, TERMINAL, Event, is_terminal
from graph_agent.protocol.json_encoding import encode
from graph_agent.runs.packed_tokens import TOKENS, PackedTokens

GATHER_SECONDS = 0.005
"""How long after a token a reader collects the next ones before it returns them. One socket write for each token takes
more time than everything else that the service does for it, and nobody notices 5 ms. A token that comes later is
returned at once, and so is any other event."""

MOST_AT_ONCE = 512
"""The most entries in one batch, so that the batch of a reader that is far behind does not double the log's memory."""

FRAME = 150
"""The fewest bytes in the event of a token besides its text."""

TEXT_REPEATS, OTHER_REPEATS = 4, 3
"""How often later events repeat a token. Text: in the events that close the text and the part, in the item, and in the
terminal event. Arguments of a call have no part, so they are repeated three times."""

PER_ENTRY = 150
"""The bytes of memory of an entry besides its JSON."""

PACKED = 16
"""How many entries that readers see are packed at a time."""

TEXT = "response.content_part.added"
"""The event with which a text begins."""

MAY_END = frozenset({*TERMINAL, "error", ""})
"""The types of events that are, or may be, the last one."""

EXTRA = frozenset({NODE, DOCUMENTS})
"""Events that repeat nothing of an item."""


class Entry(NamedTuple):
    """One event, as it was when it was appended."""

    number: int
    """The event's `sequence_number`, from 0."""

    type: str
    """The type of the event. It is empty for the error frame of `/invocations`, which has none."""

    data: bytes
    """The event as JSON on one line, UTF-8."""

    @property
    def is_last(self) -> bool:
        """Whether it is the terminal event."""
        # Few events are decoded for it: one that is named `error` may be the error frame of `/invocations`.
        return self.type in TERMINAL or (self.type in ("error", "") and is_terminal(self.event))

    @property
    def event(self) -> Event:
        """The event, decoded again on each access."""
        event: dict[str, Any] = orjson.loads(self.data)
        return event


class Keeper(Protocol):
    """Commits the events of a log to a store, and shows them."""

    def has_more(self) -> None:
        """Events were appended."""


class Outlet:
    """Where a reader's events may go at once, in the call that appends them, instead of through its task.

    To wake a task for a token that comes alone takes as long as to write the token to a socket.
    """

    __slots__ = ("take",)

    def __init__(self) -> None:
        self.take: Callable[[Sequence[Entry]], bool] | None = None
        """Takes a batch, or returns false. Then the task of the reader gets it. It must neither wait nor raise."""


class EventLog:
    """The events of one run, in memory.

    A reader is an offset. It may be slow, join late or leave, and it never delays the run or another reader.
    """

    def __init__(self, earlier: Iterable[Entry] = (), *, keeper: "Keeper | None" = None) -> None:
        """`earlier` are the events of earlier attempts at the same run. `keeper` learns of new events."""
        self._entries: list[Entry | PackedTokens] = list(earlier)
        self._packed = 0
        """Below this number, tokens are packed: several of them are the same object in the list."""
        self._begin = b""
        """How the packed tokens begin that came last."""
        self._keeper = keeper
        self.shows_at_once = True
        """Whether readers see an event at once. Otherwise they see it when `show` is called."""
        self._shown = len(self._entries)
        self._readers: set[_Reader] = set()
        self._ended = False
        self.size = sum(len(one.data) for one in self._between(0, len(self._entries)))
        """The bytes of JSON in the log."""
        self._saved = 0
        """The bytes of memory that packing has saved."""
        self.first_text_at: float | None = None
        """When the first text was appended, in terms of `time.monotonic()`."""
        self._open = 0
        """The bytes that are still to follow for open items."""
        self._closed = 0
        """The bytes of the closed items, which the terminal event repeats."""

    @property
    def due(self) -> int:
        """An estimate of the bytes that must still follow: to close the open items, and for the terminal event."""
        return self._open + self._closed

    def append(self, events: Iterable[Event]) -> None:
        """Number, encode and keep the events. Never waits for a reader."""
        if self._shown - self._packed >= PACKED:
            # Now, because the readers have had time to read them.
            self._pack()
        entries = self._entries
        before = len(entries)
        for event in events:
            number = event["sequence_number"] = len(entries)
            # A copy: the bytes that orjson returns occupy about 4 KB even when they are short, which is twenty times
            # the size of a token's event.
            data = bytes(memoryview(encode(event)))
            self.size += len(data)
            kind = event.get("type", "")
            if "delta" in event:
                self._open += max(len(data) - FRAME, 0) * (TEXT_REPEATS if kind in TOKENS else OTHER_REPEATS)
            elif kind == "response.output_item.done":
                # The item was due for this event, and its last repetition moves to `_closed`.
                self._open = max(self._open - 2 * len(data), 0)
                self._closed += len(data)
            elif kind not in EXTRA:
                self._open = max(self._open - len(data), 0)
                # Written right before the first token, and not for each one.
                if kind == TEXT and self.first_text_at is None:
                    self.first_text_at = time.monotonic()
            entries.append(Entry(number, kind, data))
        if len(entries) > before:
            if self._keeper is not None:
                self._keeper.has_more()
            if self.shows_at_once:
                self.show(len(entries))

    @property
    def count(self) -> int:
        """How many events there are, also those that readers do not see yet."""
        return len(self._entries)

    @property
    def memory(self) -> int:
        """The bytes of memory of the log, about."""
        return self.size + PER_ENTRY * len(self._entries) - self._saved

    def entries(self, first: int = 0) -> Sequence[Entry]:
        """The events from this number on, also those that readers do not see yet."""
        return self._between(first, len(self._entries))

    @property
    def shown(self) -> Sequence[Entry]:
        """The events that readers see."""
        return self._between(0, self._shown)

    def show(self, count: int) -> None:
        """Let readers see the first `count` events."""
        self._shown = max(self._shown, count)
        if self._readers and self._shown:
            newest = self._entries[self._shown - 1]
            more = isinstance(newest, PackedTokens) or newest.type in TOKENS
            for reader in self._readers:
                reader.wake(gathers=more)

    def take_back(self, count: int) -> None:
        """Forget the events behind the first `count`, which no reader has seen."""
        assert count >= self._shown, "a reader may have seen it"
        self.size -= sum(len(one.data) for one in self.entries(count))
        del self._entries[count:]

    def end(self) -> None:
        """Say that no more events follow."""
        self._ended = True
        self._pack()
        for reader in self._readers:
            reader.wake()

    async def read(
        self, *, after: int = -1, quiet_seconds: float, outlet: Outlet | None = None
    ) -> AsyncIterator[Sequence[Entry]]:
        """Yield batches of the events with a number above `after`, until the log ends.

        A reader that was busy gets the events that were appended meanwhile in one batch. After each `quiet_seconds`
        without an event, it gets an empty batch. What the `outlet` takes while the reader waits is not yielded.
        """
        reader = _Reader(after + 1, quiet_seconds, None if outlet is None else self._into(outlet))
        while True:
            if reader.at >= self._shown:
                if self._ended:
                    return
                self._readers.add(reader)
                try:
                    woken = await reader.woken()
                finally:
                    self._readers.discard(reader)
                if not woken:
                    yield ()
                continue
            batch = self._between(reader.at, min(reader.at + MOST_AT_ONCE, self._shown))
            reader.at += len(batch)
            yield batch
            reader.has_read(tokens=batch[-1].type in TOKENS)

    def _into(self, outlet: Outlet) -> "Callable[[_Reader], bool]":
        def hand(reader: _Reader) -> bool:
            """Whether the outlet takes all that the reader waits for. The end of a stream is left to its task."""
            take, at, end = outlet.take, reader.at, self._shown
            if take is None or self._ended or not at < end <= at + MOST_AT_ONCE:
                return False
            batch = self._between(at, end)
            newest = batch[-1].type
            if newest in TOKENS:
                if not take(batch):
                    return False
            elif newest in MAY_END or not take(batch):
                return False
            reader.at = end
            reader.has_read(tokens=newest in TOKENS)
            return True

        return hand

    def _between(self, first: int, end: int) -> Sequence[Entry]:
        """The entries with the numbers from `first` on and below `end`."""
        if first >= self._packed:
            # What a reader that keeps up gets.
            return cast(list[Entry], self._entries[first:end])
        found: list[Entry] = []
        while first < end:
            one = self._entries[first]
            if isinstance(one, PackedTokens):
                until = min(one.first + len(one), end)
                found += map(Entry._make, one.between(first, until))
                first = until
            else:
                found.append(one)
                first += 1
        return found

    def _pack(self) -> None:
        """Keep the tokens that readers see in less memory. A reader that comes later gets the same bytes."""
        for packed in PackedTokens.of(self._between(self._packed, self._shown), begin=self._begin):
            count = len(packed)
            self._saved += packed.saves + PER_ENTRY * (count - 1)
            if packed.begin is self._begin:
                self._saved += len(packed.begin)
            self._begin = packed.begin
            self._entries[packed.first : packed.first + count] = [packed] * count
        self._packed = self._shown


class _Reader:
    """A reader that waits. A token that comes alone sets no timer and wakes one task, since most of them do."""

    def __init__(self, at: int, quiet_seconds: float, hand: "Callable[[_Reader], bool] | None" = None) -> None:
        """`hand` hands over what it waits for without waking it, or returns false."""
        self.at = at
        """The number of the next event."""
        self._loop = asyncio.get_running_loop()
        self._quiet_seconds = quiet_seconds
        self._hand = hand
        self._future: asyncio.Future[bool] | None = None
        self._since = 0.0
        self._gathers_until = 0.0
        self._gathering: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None

    async def woken(self) -> bool:
        """Wait for `wake`, at most for the quiet seconds. Returns whether it was called."""
        self._since = self._loop.time()
        future: asyncio.Future[bool] = self._loop.create_future()
        self._future = future
        # One timer for many waits: most of them are short.
        if self._watching is None:
            self._watch()
        try:
            return await future
        finally:
            self._future = None
            if self._gathering is not None:
                self._gathering.cancel()
                self._gathering = None

    def has_read(self, *, tokens: bool) -> None:
        """A batch was read to whose end more tokens may follow."""
        self._since = self._loop.time()
        self._gathers_until = self._since + GATHER_SECONDS if tokens else 0.0

    def wake(self, *, gathers: bool = False) -> None:
        """There is something to read. With `gathers`, it has time."""
        if gathers and self._loop.time() < self._gathers_until:
            if self._gathering is None:
                self._gathering = self._loop.call_at(self._gathers_until, self._settle, True)
        else:
            self._settle(True)

    def _watch(self) -> None:
        self._watching = None
        if self._future is None:
            # It reads, or nobody iterates over it any more. The next wait sets the timer again.
            return
        until = self._since + self._quiet_seconds
        if self._loop.time() < until:
            self._watching = self._loop.call_at(until, self._watch)
        else:
            self._settle(False)

    def _settle(self, woken: bool) -> None:
        if self._future is None or self._future.done():
            return
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if not (woken and self._hand is not None and self._hand(self)):
            self._future.set_result(woken)

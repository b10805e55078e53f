"""A run's events: numbered and encoded once, kept, and read by anyone from any place."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple

import orjson

from graph_agent.protocol.events import Event
from graph_agent.protocol.json_encoding import encode

GATHER_SECONDS = 0.005
"""How long what follows a token is gathered before it is handed over: under load a socket write per token costs more
than everything else this service does for it, and no reader sees 5 ms."""

MOST_AT_ONCE = 512
"""Entries handed over together, so that a reader far behind is not given all of it to hold a second time."""

FRAME = 150
"""Bytes of a token's event at least, besides its text."""

TEXT_REPEATS, OTHER_REPEATS = 4, 3
"""How often what a token adds is told again: as the text and the part that are done, with the item, and in the terminal
event; arguments of a call are no part."""

TOKENS = frozenset({"response.output_text.delta", "response.reasoning_summary_text.delta"})


class Entry(NamedTuple):
    """One event as it was when it was appended."""

    number: int
    """From 0, and the event's own `sequence_number`."""

    type: str
    """The event's type; empty for the error frame of `/invocations`, which has none."""

    data: bytes
    """The event as JSON on one line, UTF-8."""

    @property
    def event(self) -> Event:
        """The event, read anew."""
        event: dict[str, Any] = orjson.loads(self.data)
        return event


class EventLog:
    """The events of one run, in memory. A reader is an offset: it may be slow, come late or leave, and holds up neither
    the run nor another reader."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._readers: set[asyncio.Future[None]] = set()
        self._gathering: set[asyncio.Future[None]] = set()
        self._ended = False
        self.size = 0
        """Bytes of JSON kept."""
        self._open = 0
        """Bytes still due for items that are not closed."""
        self._closed = 0
        """Bytes of the items that are closed; the terminal event repeats them."""

    @property
    def due(self) -> int:
        """About how many bytes will follow at the least, when every open item is closed and the terminal event repeats
        all of them."""
        return self._open + self._closed

    def append(self, events: Iterable[Event]) -> None:
        """Number the events and keep them; never waits for a reader. They must not be changed before: what is kept is
        what they are now."""
        entries = self._entries
        before = len(entries)
        for event in events:
            number = event["sequence_number"] = len(entries)
            # A copy: what orjson returns holds some 4 KB however short it is, which is twenty times a token's event.
            data = bytes(memoryview(encode(event)))
            self.size += len(data)
            kind = event.get("type", "")
            if "delta" in event:
                self._open += max(len(data) - FRAME, 0) * (TEXT_REPEATS if kind in TOKENS else OTHER_REPEATS)
            elif kind == "response.output_item.done":
                self._open = max(self._open - 2 * len(data), 0)
                self._closed += len(data)
            else:
                self._open = max(self._open - len(data), 0)
            entries.append(Entry(number, kind, data))
        if self._readers and len(entries) > before:
            _wake(self._readers)

    def end(self) -> None:
        """Nothing will follow."""
        self._ended = True
        _wake(self._readers)
        _wake(self._gathering)

    async def read(self, *, after: int = -1, quiet_seconds: float) -> AsyncIterator[Sequence[Entry]]:
        """Everything numbered above `after`: what is there at once, then what comes, to the end. After each
        `quiet_seconds` of silence an empty batch. A reader that was busy gets all that came meanwhile together."""
        at = after + 1
        while True:
            if at >= len(self._entries):
                if self._ended:
                    return
                try:
                    async with asyncio.timeout(quiet_seconds):
                        await _woken(self._readers)
                except TimeoutError:
                    yield ()
                continue
            batch = self._entries[at : at + MOST_AT_ONCE]
            at += len(batch)
            yield batch
            if batch[-1].type in TOKENS and at == len(self._entries) and not self._ended:
                await self._gather()

    async def _gather(self) -> None:
        pause: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathering.add(pause)
        # A bare timer: `asyncio.timeout` would cost more than the writes it saves.
        timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, _settle, pause)
        try:
            await pause
        finally:
            timer.cancel()
            self._gathering.discard(pause)


async def _woken(waiting: set["asyncio.Future[None]"]) -> None:
    one: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting.add(one)
    try:
        await one
    finally:
        waiting.discard(one)


def _wake(waiting: set["asyncio.Future[None]"]) -> None:
    for one in waiting:
        _settle(one)


def _settle(one: "asyncio.Future[None]") -> None:
    if not one.done():
        one.set_result(None)

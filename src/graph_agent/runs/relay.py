"""Events from the task that runs the graph to the one that serves the caller."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from graph_agent.protocol.events import Event

CAPACITY = 512
"""Events that may wait for a slow reader before the graph is held back."""


class Relay:
    """A bounded pipe that hands over everything that waits at once, so that a busy reader writes fewer, larger
    chunks, and that tells silence apart from the end."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False

    def leave(self, events: Iterable[Event]) -> None:
        """Hand events over without waiting for the reader."""
        self._waiting.extend(events)
        if self._waiting:
            self._arrived.set()

    async def put(self, events: Iterable[Event]) -> None:
        """Hand events over; waits while the reader is `CAPACITY` behind."""
        self.leave(events)
        if len(self._waiting) >= CAPACITY:
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        """Nothing will follow."""
        self._ended = True
        self._arrived.set()

    async def batches(self, *, quiet_seconds: float) -> AsyncIterator[list[Event]]:
        """What has arrived, as soon as something has; an empty list after each `quiet_seconds` of silence."""
        while True:
            if not self._waiting:
                if self._ended:
                    return
                self._arrived.clear()
                try:
                    async with asyncio.timeout(quiet_seconds):
                        await self._arrived.wait()
                except TimeoutError:
                    yield []
                    continue
            batch = list(self._waiting)
            self._waiting.clear()
            self._room.set()
            if batch:
                yield batch

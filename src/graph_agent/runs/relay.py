"""Events from the task that runs the graph to the one that serves the caller."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from graph_agent.protocol.events import Event

CAPACITY = 512
"""Events that may wait for a slow reader before the graph is held back."""

GATHER_SECONDS = 0.005
"""How long what follows a token is gathered before it is handed over: under load a socket write per token costs more
than everything else this service does for it, and no reader sees 5 ms."""

TOKENS = frozenset({"response.output_text.delta", "response.reasoning_summary_text.delta"})


class Relay:
    """A bounded pipe that hands over everything that waits at once, so that a busy reader writes fewer, larger
    chunks, and that tells silence apart from the end."""

    def __init__(self) -> None:
        self._waiting: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._pause: asyncio.Future[None] | None = None
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
            self._go_on()
            self._room.clear()
            await self._room.wait()

    def end(self) -> None:
        """Nothing will follow."""
        self._ended = True
        self._arrived.set()
        self._go_on()

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
                if batch[-1].get("type") in TOKENS and not self._ended:
                    await self._gather()

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        self._pause = loop.create_future()
        # A bare timer: `asyncio.timeout` would cost more than the writes it saves.
        timer = loop.call_later(GATHER_SECONDS, self._go_on)
        try:
            await self._pause
        finally:
            timer.cancel()

    def _go_on(self) -> None:
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)

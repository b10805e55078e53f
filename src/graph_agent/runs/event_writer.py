"""Writes what the translator says into the run's event log."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from graph_agent.protocol.events import Event
from graph_agent.runs.event_log import EventLog

YIELD_SECONDS = 0.01
"""How long a run makes events before others get their turn: an answer of megabytes takes seconds."""


class EventWriter:
    """The only writer of one run's log."""

    def __init__(self, log: EventLog, *, most_bytes: int) -> None:
        self._log = log
        self._most_bytes = most_bytes
        self.response: dict[str, Any] = {}
        """The response object, as the latest event that has one says it."""

    @property
    def full(self) -> bool:
        """Whether the log will hold more than its most bytes when the run has ended, if it ends now."""
        return self._log.size + self._log.due > self._most_bytes

    def write(self, events: Iterator[Event]) -> None:
        """Append all of them."""
        self._log.append(map(self._noted, events))

    def write_until(self, events: Iterator[Event], *, stopped: Callable[[], bool]) -> None:
        """Append them one by one until `stopped` says so, which is asked after each."""
        while not stopped() and (event := next(events, None)) is not None:
            self.write(iter((event,)))

    async def write_gently(self, events: Iterator[Event], *, stopped: Callable[[], bool]) -> None:
        """As `write_until`, and other tasks get their turn now and then."""
        began = time.perf_counter()
        while not stopped() and (event := next(events, None)) is not None:
            self.write(iter((event,)))
            if time.perf_counter() - began > YIELD_SECONDS:
                await asyncio.sleep(0)
                began = time.perf_counter()

    def _noted(self, event: Event) -> Event:
        self.response = event.get("response", self.response)
        return event

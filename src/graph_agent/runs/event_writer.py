"""Writes the translator's events into the run's event log."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from graph_agent.protocol.events import Event, is_terminal
from graph_agent.runs.event_log import EventLog

YIELD_SECONDS = 0.01
"""How long a run writes events before it yields to other tasks. An answer of megabytes takes seconds."""


class EventWriter:
    """The only writer of one run's log."""

    def __init__(self, log: EventLog, *, most_bytes: int) -> None:
        self._log = log
        self._most_bytes = most_bytes
        self._holds = False
        self._held: list[Event] = []
        self.response: dict[str, Any] | None = None
        """The response object of the terminal event, once it is written and if it has one."""

    @property
    def full(self) -> bool:
        """Whether the log will exceed its limit even if the run ends now."""
        return self._log.size + self._log.due > self._most_bytes

    @property
    def held(self) -> Sequence[Event]:
        """The terminal event that is kept."""
        return tuple(self._held)

    def hold_end(self) -> None:
        """Keep the terminal event until `release_end`: a client may continue the response as soon as it sees it."""
        self._holds = True

    def release_end(self, instead: Iterator[Event] | None = None) -> None:
        """Append the terminal event that was kept, or the events `instead`, which end with another one."""
        held, self._held, self._holds = self._held, [], False
        self.write(iter(held) if instead is None else instead)

    def write(self, events: Iterator[Event]) -> None:
        """Append all events."""
        self._log.append(map(self._noted, self._without_end(events) if self._holds else events))

    def write_deltas(self, deltas: Sequence[Event]) -> None:
        """Append events that have no response object and end nothing."""
        self._log.append(deltas)

    def write_until(self, events: Iterator[Event], *, stopped: Callable[[], bool]) -> None:
        """Append the events one by one until `stopped` returns true. It is called before each event."""
        while not stopped() and (event := next(events, None)) is not None:
            self.write(iter((event,)))

    async def write_gently(self, events: Iterator[Event], *, stopped: Callable[[], bool]) -> None:
        """As `write_until`, but yields to other tasks from time to time."""
        began = time.perf_counter()
        while not stopped() and (event := next(events, None)) is not None:
            self.write(iter((event,)))
            if time.perf_counter() - began > YIELD_SECONDS:
                await asyncio.sleep(0)
                began = time.perf_counter()

    def _without_end(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if is_terminal(event):
                self._held.append(self._noted(event))
            else:
                yield event

    def _noted(self, event: Event) -> Event:
        if is_terminal(event):
            self.response = event.get("response", self.response)
        return event

"""Reads the events of a run from the store: of a run that has ended, or that another process has."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from graph_agent.errors import AgentError, LeaseLost, ResponseNotFound, ServiceStopping, StoreUnavailable
from graph_agent.identity.owner import Owner
from graph_agent.protocol.events import Event
from graph_agent.protocol.json_encoding import encode
from graph_agent.protocol.logged_response import LoggedResponse
from graph_agent.protocol.lost_response import lost_end
from graph_agent.runs.event_log import MOST_AT_ONCE, Entry
from graph_agent.stores.records import StoredResponse
from graph_agent.stores.run_records import StoredRun
from graph_agent.stores.store import Store

LOOK_SECONDS = 1.0
"""How often a reader looks for new events without a signal: one may have been missed."""

LOST_SECONDS = 2.0
"""How often a reader of a quiet run in the foreground looks whether its process is still there."""


class StoredLog:
    """The events of one run in the store."""

    def __init__(
        self, store: Store, owner: Owner, response_id: str, *, is_stopping: Callable[[], bool] = lambda: False
    ) -> None:
        """While `is_stopping`, nobody waits for new events."""
        self._is_stopping = is_stopping
        self._store = store
        self._owner = owner
        self._id = response_id

    async def read(self, *, after: int, quiet_seconds: float) -> AsyncIterator[Sequence[Entry]]:
        """Yield batches of the events with a number above `after`, to the end of the run, and an empty batch after each
        `quiet_seconds` without an event.

        A run in the foreground whose process is gone ends as failed, with `process_lost`. One in the background goes
        on in another process, and so does its log. The batches also end when the response is deleted meanwhile.

        Raises:
            ServiceStopping: this process stops, and the run has not ended. Another process has its next events.
        """
        at, heard, looked = after, time.monotonic(), 0.0
        async with self._store.signals.listening(self._id) as news:
            while True:
                batch: Sequence[Entry] = ()
                over = False
                try:
                    batch, over, looked = await self._next(at, looked)
                except ResponseNotFound:
                    return
                except StoreUnavailable:
                    # The database may be back soon, and the reader has lost nothing.
                    await asyncio.sleep(LOOK_SECONDS)
                if batch := [one for one in batch if one.number > at]:
                    at, heard = batch[-1].number, time.monotonic()
                    yield batch
                if over or (batch and batch[-1].is_last):
                    return
                if not batch and self._is_stopping():
                    raise ServiceStopping("the service is stopping; come back to the stream")
                if not batch and time.monotonic() - heard >= quiet_seconds:
                    heard = time.monotonic()
                    yield ()
                elif not batch:
                    await news.wait(max(min(heard + quiet_seconds - time.monotonic(), LOOK_SECONDS), 0.0))

    async def _next(self, at: int, looked: float) -> tuple[Sequence[Entry], bool, float]:
        """The events after `at`, whether they are the last ones, and when it was looked last whether the process is
        still there."""
        run = await self._run()
        if run is None:
            return (), True, looked
        if run.events > at + 1:
            return await self._entries(after=at, most=MOST_AT_ONCE), False, looked
        if run.state == "ended":
            return await self._missing_end(run, at), True, looked
        if not run.background and time.monotonic() - looked >= LOST_SECONDS:
            looked = time.monotonic()
            # Recorded as well: a process that was only frozen must not go on with what its readers know as failed.
            if is_lost(await self._response()) and await self._store.responses.end_lost(self._owner, self._id):
                return await self._missing_end(run, at), True, looked
        return (), False, looked

    async def events(self) -> Sequence[Event]:
        """All events until now."""
        found: list[Event] = []
        while more := await self._store.runs.events(self._owner, self._id, after=len(found) - 1, most=MOST_AT_ONCE):
            found += map(orjson.loads, more)
        return found

    async def _run(self) -> StoredRun | None:
        run = await self._store.runs.get(self._owner, self._id)
        return run if run is not None and run.has_events else None

    async def _response(self) -> StoredResponse:
        return await self._store.responses.get(self._owner, self._id)

    async def _entries(self, *, after: int, most: int) -> Sequence[Entry]:
        found = await self._store.runs.events(self._owner, self._id, after=after, most=most)
        return [entry_of(after + 1 + place, data) for place, data in enumerate(found)]

    async def _missing_end(self, run: StoredRun, at: int) -> Sequence[Entry]:
        """The end of a log that its process did not end, for a reader that has the events up to `at`. Nothing if it has
        one."""
        last = await self._entries(after=run.events - 2, most=1) if run.events else ()
        if last and last[-1].is_last:
            return ()
        events = await self.events()
        # A reader at the process itself may have seen events that were not committed any more.
        return list(_ended(events, await self._response(), first=max(len(events), at + 1)))


def is_lost(stored: StoredResponse) -> bool:
    """Whether the run's process is gone, and nobody takes it over."""
    error = (stored.response or {}).get("error") or {}
    return stored.status == "failed" and error.get("code") == LeaseLost.code


def lost_error(stored: StoredResponse) -> AgentError:
    """The error of such a run, as its record says it."""
    error = (stored.response or {}).get("error") or {}
    return LeaseLost(str(error.get("message") or "the process of this run is gone: send the request again"))


def entry_of(number: int, data: bytes) -> Entry:
    """One event as the store has it."""
    kind = orjson.loads(data).get("type", "")
    return Entry(number, kind if isinstance(kind, str) else "", data)


def _ended(log: Sequence[Event], stored: StoredResponse, *, first: int) -> Iterator[Entry]:
    head: Mapping[str, Any] = stored.response or {}
    for number, event in enumerate(lost_end(LoggedResponse.read(log), lost_error(stored), head=head), start=first):
        event["sequence_number"] = number
        yield Entry(number, event["type"], encode(event))

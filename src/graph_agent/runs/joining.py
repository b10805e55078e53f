"""Joins, looks at and cancels runs of one owner, whichever process has them."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from graph_agent.errors import EventLogExpired, ResponseNotFound, RunNotFound
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol.events import Event
from graph_agent.protocol.json_decoding import Pulse
from graph_agent.protocol.logged_response import LoggedResponse
from graph_agent.protocol.lost_response import lost_end
from graph_agent.runs.event_log import Entry
from graph_agent.runs.gently import run_gently
from graph_agent.runs.registry import QUIET_SECONDS, Reader, Runs, stopping
from graph_agent.runs.stored_log import StoredLog, is_lost, lost_error
from graph_agent.stores.records import StoredResponse
from graph_agent.stores.store import Store

CANCEL_SECONDS = 5.0
"""How long a cancellation waits until another process has ended the run."""

LOOK_SECONDS = 0.25
"""How often it looks without a signal."""

EXPIRED = (
    "the events of this response are not kept any more, or were never kept for other processes: read the response "
    "without `stream`"
)

ELSEWHERE = "another process has this run, and does not share its runs with this one: the run ends by itself"

OPEN = ("queued", "in_progress")
"""The statuses of a response that has not ended."""


class Joining:
    """The runs of this process, and those that its store knows."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def reader(
        self, caller: Caller, response_id: str, *, store: Store, after: int = -1, quiet_seconds: float = QUIET_SECONDS
    ) -> Reader:
        """A reader of the run of a response: first of the events with a number above `after` that it has, then of new
        ones. Call `leave()` in the end.

        Raises:
            EventLogExpired: the events are gone, or this process cannot read them.
            ServiceStopping: this process stops, and does not have the run.
        """
        try:
            reader = self._runs.join(caller, response_id, after=after, quiet_seconds=quiet_seconds)
        except RunNotFound:
            run = await store.runs.get(Owner.of(caller), response_id)
            if run is None or not run.has_events:
                raise EventLogExpired(EXPIRED) from None
            if run.state != "ended" and self._runs.draining:
                raise stopping() from None
            log = self._stored(store, caller, response_id)
            return Reader(log.read(after=after, quiet_seconds=quiet_seconds), _nothing)
        return self.going_on(reader, caller, response_id, store=store, after=after, quiet_seconds=quiet_seconds)

    def going_on(
        self,
        reader: Reader,
        caller: Caller,
        response_id: str,
        *,
        store: Store,
        after: int = -1,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> Reader:
        """A reader that goes on in the store where this process's log stops without an end, because another process
        has the run now."""

        async def batches() -> AsyncIterator[Sequence[Entry]]:
            at, ended = after, False
            async for batch in reader:
                if batch:
                    at, ended = batch[-1].number, batch[-1].is_last
                yield batch
            if ended or await store.runs.get(Owner.of(caller), response_id) is None:
                return
            log = self._stored(store, caller, response_id)
            async for batch in log.read(after=at, quiet_seconds=quiet_seconds):
                yield batch

        return Reader(batches(), reader.leave)

    def _stored(self, store: Store, caller: Caller, response_id: str) -> StoredLog:
        return StoredLog(store, Owner.of(caller), response_id, is_stopping=lambda: self._runs.draining)

    async def so_far(
        self, caller: Caller, stored: StoredResponse, *, store: Store, head: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The response object of a run in progress, with its output until now. `head` is what is known without its
        events."""
        log: Sequence[Event | Entry]
        try:
            log = self._runs.events_of(caller, stored.id)
        except RunNotFound:
            log = await self._stored(store, caller, stored.id).events()
        if not log:
            return head
        return await run_gently(lambda pulse: _folded(log, stored, head, pulse), [None] * len(log))

    async def cancel(self, caller: Caller, response_id: str, *, store: Store) -> None:
        """End the run of a response, and wait until that is recorded. Does nothing if it has ended.

        Another process has a few seconds for it, and may end the run later.

        Raises:
            ResponseNotFound: the caller has no such response.
            RunNotFound: another process has the run, and does not hear this one.
        """
        owner, is_here = Owner.of(caller), False
        with suppress(RunNotFound):
            await self._runs.cancel(caller, response_id)
            is_here = True
        if not await _is_open(store, owner, response_id):
            return
        async with store.signals.listening(response_id) as news:
            if await store.runs.get(owner, response_id) is None:
                if is_here:
                    return
                raise RunNotFound(ELSEWHERE)
            await store.runs.cancel(owner, response_id)
            if self._runs.background is not None:
                # A run that waits in the queue is ended by whoever takes it.
                self._runs.background.look()
            until = time.monotonic() + CANCEL_SECONDS
            while time.monotonic() < until and await _is_open(store, owner, response_id):
                await news.wait(LOOK_SECONDS)


async def _is_open(store: Store, owner: Owner, response_id: str) -> bool:
    stored = await store.responses.get(owner, response_id)
    if stored.kind != "response":
        raise ResponseNotFound("there is no such response")
    return stored.status in OPEN


def _folded(
    log: Sequence[Event | Entry], stored: StoredResponse, head: Mapping[str, Any], pulse: Pulse
) -> Mapping[str, Any]:
    def read() -> Iterator[Event]:
        for one in log:
            pulse()
            yield one.event if isinstance(one, Entry) else one

    logged = LoggedResponse.read(read())
    if is_lost(stored):
        *_, last = lost_end(logged, lost_error(stored), head=head)
        response: Mapping[str, Any] = last["response"]
        return response
    response = logged.so_far(head)
    if response["status"] == "queued" and stored.status == "in_progress":
        return {**response, "status": stored.status}
    return response


async def _nothing() -> None:
    """The store does not mind that a reader leaves."""

"""Commits the events of this process's runs to the store: those of all runs together, one transaction after another."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context

from graph_agent.errors import StoreUnavailable
from graph_agent.foreign_errors import describe_error
from graph_agent.runs.event_log import Entry, EventLog
from graph_agent.stores.run_records import EventBatch, Right
from graph_agent.stores.store import RunStore

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.01
"""The pause between two transactions. What is appended meanwhile goes into the next one."""

LAZY_SECONDS = 0.05
"""The same if no reader in this process waits for what is appended, because runs in the foreground show it at once."""

RETRY_SECONDS = 0.5
"""The pause after a transaction that failed."""


class JournaledLog:
    """The log of one run whose events are committed. It is the keeper of its `EventLog`."""

    def __init__(self, journal: "Journal", right: Right, earlier: Iterable[Entry]) -> None:
        self.right = right
        self.lost: Callable[[], None] = _nobody
        """Called once if the right turns out to be lost."""
        self.log = EventLog(earlier, keeper=self)
        self.committed = self.log.count
        """How many events the store has."""
        self._journal = journal
        self._left = False

    def has_more(self) -> None:
        """See `Keeper.has_more`."""
        if not self._left:
            self._journal.has_more(self)

    def pending(self) -> EventBatch | None:
        """The events that are not committed."""
        events = tuple(one.data for one in self.log.entries(self.committed))
        return EventBatch(right=self.right, first=self.committed, events=events) if events else None

    def has(self, count: int) -> None:
        """The first `count` events are committed."""
        self.committed = count
        self.log.show(count)

    async def leave(self) -> None:
        """Stop to commit. The last events, which are not committed yet, are committed with the record."""
        self._left = True
        await self._journal.leave(self)


class Journal:
    """The journal of one process. All of it belongs to one event loop."""

    def __init__(self, runs: Callable[[], RunStore]) -> None:
        """`runs` is called for each transaction, because a store may be opened again."""
        self._runs = runs
        self._waiting: dict[str, JournaledLog] = {}
        self._writing = asyncio.Lock()
        self._awaited = asyncio.Event()
        """Whether a reader waits for what is appended."""
        self._writer: asyncio.Task[None] | None = None

    def log_of(self, right: Right, earlier: Iterable[Entry] = ()) -> JournaledLog:
        """The log of a run that has this right, with the events that the store has."""
        return JournaledLog(self, right, earlier)

    def has_more(self, log: JournaledLog) -> None:
        """Commit the new events of this log soon."""
        self._waiting[log.right.response] = log
        if self._writer is None:
            # A lock and an event belong to one event loop, and an app may be started again on another one.
            self._awaited = asyncio.Event()
            if not self._writing.locked():
                self._writing = asyncio.Lock()
            self._writer = asyncio.get_running_loop().create_task(self._write(), context=Context())
        if not log.log.shows_at_once:
            self._awaited.set()

    async def leave(self, log: JournaledLog) -> None:
        """Commit nothing more of this log. A transaction that has begun is waited for."""
        self._waiting.pop(log.right.response, None)
        async with self._writing:
            self._waiting.pop(log.right.response, None)

    async def flush(self) -> None:
        """Commit what waits."""
        while self._waiting and self._writer is not None:
            await asyncio.wait([self._writer], timeout=PAUSE_SECONDS)

    async def _write(self) -> None:
        try:
            while self._waiting:
                async with self._writing:
                    pause = await self._write_all()
                await asyncio.sleep(pause)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAZY_SECONDS - PAUSE_SECONDS):
                        await self._awaited.wait()
        finally:
            self._writer = None

    async def _write_all(self) -> float:
        """One transaction. Returns how long to pause after it."""
        logs, self._waiting = self._waiting, {}
        self._awaited.clear()
        batches = {id_: batch for id_, log in logs.items() if (batch := log.pending()) is not None}
        try:
            lost = await self._runs().append(list(batches.values()))
        except Exception as error:  # noqa: BLE001 - whatever it was, the next try may succeed
            if not isinstance(error, StoreUnavailable):
                logger.error("the events of %d runs could not be stored: %s", len(batches), describe_error(error))
            self._waiting = logs | self._waiting
            self._awaited.set()
            return RETRY_SECONDS
        for id_, batch in batches.items():
            if id_ in lost:
                self._waiting.pop(id_, None)
                logs[id_].lost()
            else:
                logs[id_].has(batch.first + len(batch.events))
        return PAUSE_SECONDS


def _nobody() -> None:
    """Nobody has to know."""

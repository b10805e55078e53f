"""Deletes conversations that nobody has continued for a while, and the events of runs that ended a while ago."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from graph_agent.errors import StoreUnavailable
from graph_agent.identity.owner import Owner
from graph_agent.stores.memory_records import Forgotten
from graph_agent.stores.run_records import Right
from graph_agent.stores.store import (
    Deliveries,
    Memories,
    ResponseStore,
    RunStore,
    Schedules,
    Signals,
    Store,
    UsageStore,
)

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

logger = logging.getLogger(__name__)

DAY = 86_400.0

INTERVAL_SECONDS = 3600.0
"""How often idle conversations are looked for."""

MOST_EVENT_SECONDS = 600.0
"""How often old events are looked for, at least. A short life of events is looked at ten times."""


DELIVERY_SECONDS = 25 * 3600.0
"""How old a webhook gets at most. The process that sends it gives it up after a day; this one has no target."""


class ExpiringStore:
    """A store whose idle conversations and old events are deleted while it is open.

    Each process that uses the store does it. What one has deleted, the others do not find.
    """

    def __init__(
        self,
        store: Store,
        *,
        days: float = 0.0,
        event_seconds: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Conversations go when they were idle for so many days, and events so many seconds after the end of their run.
        Conversations stay with 0, and events with `None`."""
        self._store = store
        self.days = days
        self.event_seconds = event_seconds
        self._clock = clock
        self._upkeep: list[asyncio.Task[None]] = []

    @property
    def responses(self) -> ResponseStore:
        """See `Store.responses`."""
        return self._store.responses

    @property
    def memories(self) -> Memories:
        """See `Store.memories`."""
        return self._store.memories

    @property
    def runs(self) -> RunStore:
        """See `Store.runs`."""
        return self._store.runs

    @property
    def schedules(self) -> Schedules:
        """See `Store.schedules`."""
        return self._store.schedules

    @property
    def deliveries(self) -> Deliveries:
        """See `Store.deliveries`."""
        return self._store.deliveries

    @property
    def usage(self) -> UsageStore:
        """See `Store.usage`."""
        return self._store.usage

    @property
    def signals(self) -> Signals:
        """See `Store.signals`."""
        return self._store.signals

    @property
    def may_be_shared(self) -> bool:
        """See `Store.may_be_shared`."""
        return self._store.may_be_shared

    async def forget(self, owner: Owner) -> Forgotten:
        """See `Store.forget`."""
        return await self._store.forget(owner)

    async def secret(self, name: str, made: bytes) -> bytes:
        """See `Store.secret`."""
        return await self._store.secret(name, made)

    async def open(self) -> None:
        """See `Store.open`."""
        await self._store.open()
        # Of the store, so they inherit nothing of what opened it.
        if self.days:
            self._upkeep.append(asyncio.create_task(self._expire(), context=Context()))
        if self.event_seconds is not None:
            self._upkeep.append(asyncio.create_task(self._expire_events(self.event_seconds), context=Context()))

    def checkpointer(self, right: Right | None = None) -> "BaseCheckpointSaver[Any]":
        """See `Store.checkpointer`."""
        return self._store.checkpointer(right)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        upkeep, self._upkeep = self._upkeep, []
        for one in upkeep:
            one.cancel()
        await asyncio.gather(*upkeep, return_exceptions=True)
        await self._store.aclose()

    async def _expire(self) -> None:
        while True:
            # If the store does not answer now, the next time will do.
            with contextlib.suppress(StoreUnavailable):
                expired = await self.responses.expire(idle_since=self._clock() - self.days * DAY)
                if expired:
                    logger.info("deleted %d conversations that were idle for %g days", expired, self.days)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _expire_events(self, seconds: float) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable):
                expired = await self.runs.expire_events(older_seconds=seconds)
                if expired:
                    logger.debug("deleted the events of %d runs that ended %g s ago or earlier", expired, seconds)
                if undelivered := await self.deliveries.expire(older_seconds=DELIVERY_SECONDS):
                    logger.error("gave up %d webhooks: no process knows their targets any more", undelivered)
            await asyncio.sleep(min(seconds / 10, MOST_EVENT_SECONDS))

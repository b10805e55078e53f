"""Deletes conversations that nobody has continued for a while."""

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
from graph_agent.stores.store import Memories, ResponseStore, RunStore, Signals, Store

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

logger = logging.getLogger(__name__)

DAY = 86_400.0

INTERVAL_SECONDS = 3600.0
"""How often idle conversations are looked for."""


class ExpiringStore:
    """A store whose idle conversations are deleted while it is open.

    Each process that uses the store does it. What one has deleted, the others do not find.
    """

    def __init__(self, store: Store, *, days: float, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._days = days
        self._clock = clock
        self._upkeep: asyncio.Task[None] | None = None

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

    async def open(self) -> None:
        """See `Store.open`."""
        await self._store.open()
        # Of the store, so it inherits nothing of what opened it.
        self._upkeep = asyncio.create_task(self._expire(), context=Context())

    def checkpointer(self, right: Right | None = None) -> "BaseCheckpointSaver[Any]":
        """See `Store.checkpointer`."""
        return self._store.checkpointer(right)

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
            self._upkeep = None
        await self._store.aclose()

    async def _expire(self) -> None:
        while True:
            # If the store does not answer now, the next time will do.
            with contextlib.suppress(StoreUnavailable):
                expired = await self.responses.expire(idle_since=self._clock() - self._days * DAY)
                if expired:
                    logger.info("deleted %d conversations that were idle for %g days", expired, self._days)
            await asyncio.sleep(INTERVAL_SECONDS)

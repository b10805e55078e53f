"""Keeps the conversations of this process's runs busy: one timer renews the leases of all of them."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextvars import Context
from dataclasses import dataclass

from graph_agent.foreign_errors import describe_error
from graph_agent.stores.store import ResponseStore

logger = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
"""How long a conversation stays busy after its process was last seen."""

RENEW_SECONDS = 2.0
"""How often a process renews its leases. Four renewals may fail before one is lost."""


@dataclass(slots=True)
class Lease:
    """The right of one run to write to its conversation."""

    busy_until: float
    """Seconds since 1970, for the store: other processes compare it with their own clock."""

    ends: float
    """In terms of `time.monotonic()`, which no change of the clock moves."""


class Leases:
    """The leases of one process's runs in one store. The timer that renews them runs while there are some."""

    def __init__(
        self, responses: ResponseStore, *, seconds: float = LEASE_SECONDS, renew_seconds: float = RENEW_SECONDS
    ) -> None:
        self.responses = responses
        self._seconds = seconds
        self._renew_seconds = renew_seconds
        self._held: dict[str, tuple[Lease, Callable[[], None]]] = {}
        # A timer, and not a task that sleeps: a task would outlive the last run, and be left pending if the loop ends.
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None

    def new(self) -> Lease:
        """A lease that begins now, to be passed to `ResponseStore.begin`."""
        return Lease(busy_until=time.time() + self._seconds, ends=time.monotonic() + self._seconds)

    def hold(self, response_id: str, lease: Lease, *, lost: Callable[[], None]) -> None:
        """Renew the lease of this response from now on. `lost` is called once if that fails for too long, or if
        another process has taken it over."""
        self._held[response_id] = (lease, lost)
        self._wait()

    def release(self, response_id: str) -> None:
        """Stop renewing the lease of this response."""
        self._held.pop(response_id, None)
        if not self._held and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def holds(self, response_id: str) -> bool:
        """Whether the lease is held and has not expired. Another process may have it otherwise."""
        held = self._held.get(response_id)
        return held is not None and time.monotonic() < held[0].ends

    async def regain(self, response_id: str) -> bool:
        """Whether the lease is held, also if this process was held up for so long that it has expired meanwhile: by a
        node that blocks the event loop, for example. Nobody may have taken it over."""
        if not self.holds(response_id) and response_id in self._held:
            await self.renew()
        return self.holds(response_id)

    async def renew(self) -> None:
        """Renew all leases with one statement, and end the runs that have lost theirs."""
        ids = list(self._held)
        renewed = self.new()
        try:
            # A database that hangs must not hide that the leases have expired.
            async with asyncio.timeout(self._renew_seconds * 2):
                lost: Collection[str] = await self.responses.renew(ids, busy_until=renewed.busy_until)
        except Exception as error:  # noqa: BLE001 - the next renewal may succeed, whatever this was
            logger.warning("the leases of %d runs could not be renewed: %s", len(ids), describe_error(error))
            lost = [one for one in ids if not self.holds(one)]
        else:
            for one in ids:
                if one not in lost and one in self._held:
                    self._held[one][0].ends = renewed.ends
        for one in lost:
            # The run may have ended meanwhile.
            if (held := self._held.pop(one, None)) is not None:
                logger.error("run %s has lost its conversation: its lease was not renewed in time", one)
                held[1]()

    def _wait(self) -> None:
        if self._held and self._timer is None and self._renewing is None:
            loop = asyncio.get_running_loop()
            # In an empty context: the timer outlives the request that happens to start it.
            self._timer = loop.call_later(self._renew_seconds, self._begin_renewing, context=Context())

    def _begin_renewing(self) -> None:
        self._timer = None
        self._renewing = asyncio.create_task(self.renew())
        self._renewing.add_done_callback(self._renewed)

    def _renewed(self, renewing: asyncio.Task[None]) -> None:
        self._renewing = None
        if not renewing.cancelled():
            self._wait()

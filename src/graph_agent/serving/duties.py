"""What an app does besides answering requests: runs in the background, schedules and webhooks."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from graph_agent.protocol.dialects import OPENAI
from graph_agent.runs.background import Surroundings
from graph_agent.runs.registry import Runs
from graph_agent.serving.open_sockets import OpenSockets
from graph_agent.serving.store_gate import StoreGate

if TYPE_CHECKING:
    from graph_agent.scheduling.scheduler import Scheduler
    from graph_agent.serving.service import Service
    from graph_agent.webhooks.deliverer import Deliverer


SOCKET_SECONDS = 2.0
"""How long a client may take to read the end of a response over a WebSocket, when the service stops."""


class Duties:
    """The duties of one app. They begin when its graphs are loaded."""

    def __init__(self, *, runs: Runs, store: StoreGate, shares_store: bool, sockets: OpenSockets) -> None:
        self._runs = runs
        self._store = store
        self._shares_store = shares_store
        self._sockets = sockets
        self._scheduler: Scheduler | None = None
        self._deliverer: Deliverer | None = None

    def begin(self, service: "Service") -> None:
        """Begin all of them."""
        if self._runs.background is not None:
            self._runs.background.begin(
                Surroundings(app=service.app, graphs=service.catalog, observers=service.observers)
            )
        if service.targets:
            # Late, as the next one: a service without them does not need it.
            from graph_agent.webhooks.deliverer import Deliverer

            self._deliverer = Deliverer(service.targets, store=self._store.passed, shares=self._shares_store)
            self._deliverer.begin()
        if service.schedules:
            from graph_agent.scheduling.scheduler import Scheduler

            self._scheduler = Scheduler(
                service.schedules,
                runs=self._runs,
                store=self._store.passed,
                app=service.app,
                graphs=service.catalog,
                parse=partial(service.parse, dialect=OPENAI),
            )
            self._scheduler.begin()

    async def drain(self, *, within_seconds: float, is_forced: Callable[[], bool] = lambda: False) -> None:
        """Begin no scheduled run any more, and drain the others: see `Runs.drain`."""
        await self._end_schedules()
        self._sockets.stop()
        await self._runs.drain(within_seconds=within_seconds, is_forced=is_forced)
        # The server closes a WebSocket at once, also in the midst of a response.
        await self._sockets.ended(within_seconds=SOCKET_SECONDS)

    async def aclose(self, *, within_seconds: float) -> None:
        """End the runs, and all duties."""
        await self._end_schedules()
        deliverer, self._deliverer = self._deliverer, None
        ending = self._runs.end(within_seconds=within_seconds)
        # At the same time. What the last runs have to tell is told by the next process.
        await asyncio.gather(ending, *([] if deliverer is None else [deliverer.aclose()]))
        await self._runs.aclose()

    async def _end_schedules(self) -> None:
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            await scheduler.aclose()

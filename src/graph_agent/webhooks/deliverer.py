"""Sends the webhooks of a store. One process claims each, tries again when it fails, and gives it up after a day."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.stores.delivery_records import Delivery
from graph_agent.stores.store import DELIVERIES
from graph_agent.threads import run_in_service_thread
from graph_agent.webhooks.targets import Target

if TYPE_CHECKING:
    from graph_agent.stores.store import Listening, Store
    from graph_agent.webhooks.sending import Outcome, Sender

logger = logging.getLogger(__name__)

DELAYS = (5.0, 60.0, 600.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 9 * 3600.0)
"""The seconds before each further try. With the first one there are eight, in about 20 hours."""

JITTER = 0.2
"""How much longer or shorter a delay may be, as a part of it, so that many tries do not come at once."""

MOST_SECONDS = 24 * 3600.0
"""How old a message may be at its last try."""

BUSY_SECONDS = 60.0
"""How long a message belongs to the process that sends it. If that one is gone, another process sends it then."""

PER_TARGET = 4
"""Messages that a process sends to one target at a time, so that a slow one does not hold up the others."""

AT_ONCE = 32
"""Messages that a process sends at a time."""

LOOK_SECONDS = 1.0
"""How often a store is looked at that has no signals."""

IDLE_SECONDS = 30.0
"""How often one is looked at that has."""

ENDING_SECONDS = 2.0
"""How long the end of the process waits for what is being sent."""


class Deliverer:
    """Sends the webhooks of one process's store. All of it belongs to one event loop."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        *,
        store: "Callable[[], Coroutine[Any, Any, Store]]",
        shares: bool = False,
        delays: Sequence[float] = DELAYS,
        busy_seconds: float = BUSY_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`store` returns the open store. With `shares`, other processes on this machine use the same one."""
        self._targets = targets
        self._store = store
        self._shares = shares
        self._delays = delays
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._news = asyncio.Event()
        self._working: asyncio.Task[None] | None = None
        self._sending: dict[asyncio.Task[None], Delivery] = {}
        self._sender: Sender | None = None

    def begin(self) -> None:
        """Start to send, if there is any target."""
        # Another lifespan of the app may have another event loop.
        self._news = asyncio.Event()
        if self._targets:
            # In an empty context: it must not inherit anything of what begins it.
            self._working = asyncio.get_running_loop().create_task(self._work(), context=Context())

    async def aclose(self) -> None:
        """Claim nothing more, wait a little for what is being sent, and give the rest back."""
        if self._working is None:
            return
        self._working.cancel()
        await asyncio.gather(self._working, return_exceptions=True)
        self._working = None
        if self._sending:
            await asyncio.wait(list(self._sending), timeout=ENDING_SECONDS)
        left = dict(self._sending)
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for delivery in left.values():
            await self._settle(delivery, again_in=0.0)
        if self._sender is not None:
            await self._sender.aclose()
            self._sender = None

    async def _work(self) -> None:
        while True:
            try:
                store = await self._store()
                if self._sender is None:
                    self._sender = await run_in_service_thread(_sender)
                if self._shares or store.may_be_shared:
                    async with store.signals.listening(DELIVERIES) as signals:
                        await self._look_again_and_again(store, signals)
                else:
                    await self._look_again_and_again(store, None)
            except AgentError as error:
                logger.debug("no webhooks could be read from the store: %s", error.code)
            except Exception as error:  # noqa: BLE001 - sending must go on
                logger.error("webhooks could not be read from the store: %s", describe_error(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_again_and_again(self, store: "Store", signals: "Listening | None") -> None:
        while True:
            self._news.clear()
            free = self._free()
            most = AT_ONCE - len(self._sending)
            for delivery in await store.deliveries.claim(free, most=most, busy_seconds=self._busy_seconds):
                self._begin_to_send(delivery)
            free = self._free()
            seconds = LOOK_SECONDS if signals is None else IDLE_SECONDS
            if len(self._sending) < AT_ONCE:
                due = await store.deliveries.due_in([name for name, count in free.items() if count > 0])
                seconds = seconds if due is None else min(seconds, max(due, 0.01))
            await self._wait(signals, seconds)

    async def _wait(self, signals: "Listening | None", seconds: float) -> None:
        """Wait for a signal, or until a place is free again, and at most so long."""
        waiting = [asyncio.ensure_future(self._news.wait())]
        if signals is not None:
            waiting.append(asyncio.ensure_future(signals.wait(seconds)))  # type: ignore[arg-type]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()

    def _free(self) -> dict[str, int]:
        busy = Counter(delivery.target for delivery in self._sending.values())
        return {name: PER_TARGET - busy[name] for name in self._targets}

    def _begin_to_send(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._send(delivery), context=Context())
        self._sending[task] = delivery
        task.add_done_callback(self._sent)

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending.pop(task, None)
        self._news.set()

    async def _send(self, delivery: Delivery) -> None:
        target = self._targets[delivery.target]
        if delivery.type not in target.events:
            await self._settle(delivery)
            return
        assert self._sender is not None
        outcome = await self._sender.send(target, delivery, at=self._clock())
        about = f"the webhook {delivery.id} for {target.name} about {delivery.response}"
        if outcome.kind == "arrived":
            logger.info("%s has arrived (try %d)", about, delivery.tries)
            await self._settle(delivery)
        elif outcome.kind == "gone":
            logger.error("%s is given up: the receiver wants no more (%s)", about, outcome.why)
            await self._settle(delivery)
        elif (seconds := self._seconds_to_next(delivery, outcome)) is None:
            logger.error("%s is given up after %d tries: %s", about, delivery.tries, outcome.why)
            await self._settle(delivery)
        else:
            message = "%s did not arrive (try %d), the next try is in %.0f s: %s"
            logger.warning(message, about, delivery.tries, seconds, outcome.why)
            await self._settle(delivery, again_in=seconds)

    def _seconds_to_next(self, delivery: Delivery, outcome: "Outcome") -> float | None:
        left = MOST_SECONDS - delivery.age
        if delivery.tries > len(self._delays) or left <= 0:
            return None
        seconds = self._delays[delivery.tries - 1] * random.uniform(1 - JITTER, 1 + JITTER)
        return min(max(seconds, outcome.wait or 0.0), left)

    async def _settle(self, delivery: Delivery, *, again_in: float | None = None) -> None:
        """Record what became of a message. If that fails, it is sent again once it is due."""
        try:
            store = await self._store()
            if again_in is None:
                await store.deliveries.done(delivery)
            else:
                await store.deliveries.retry(delivery, seconds=again_in)
        except AgentError as error:
            logger.warning("what became of the webhook %s could not be recorded: %s", delivery.id, error.code)
        except Exception as error:  # noqa: BLE001 - an exception of a driver may quote an address and a password
            logger.error("what became of the webhook %s could not be recorded: %s", delivery.id, describe_error(error))


def _sender() -> "Sender":
    # Late, and in a thread: httpx takes a while to import, and so does reading the certificates of this machine.
    with IMPORT_LOCK:
        from graph_agent.webhooks.sending import Sender

    return Sender()

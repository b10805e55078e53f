"""Counts the requests and tokens of one process in the store, and asks there whether more may begin.

Everything that comes while a transaction is on its way goes into the next one. So many runs at a time cost few
transactions, and a call that waits for its reservation waits for about one.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graph_agent.errors import AgentError, StoreUnavailable
from graph_agent.foreign_errors import describe_error
from graph_agent.identity.owner import Owner
from graph_agent.protocol.events import new_id
from graph_agent.runs.reached_limits import limit_reached
from graph_agent.settings import Limits
from graph_agent.stores.usage_records import (
    Admission,
    Call,
    Charge,
    Grant,
    Later,
    Outcome,
    Reached,
    Reservation,
    Standing,
    UsageBatch,
    day_of,
    minute_of,
)

if TYPE_CHECKING:
    from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.5
"""How long what was used waits for more, so that it shares a transaction."""

RETRY_SECONDS = 5.0
"""How soon it is written again what a store did not take."""

BUSY_SECONDS = 30.0
"""How long a reservation is valid that nobody renews: its process is gone, or cannot reach the store."""

RENEW_SECONDS = 10.0

WAIT_SECONDS = 30.0
"""How long a call waits for the end of others that have reserved what is left."""

LOOK_SECONDS = 0.5
"""How often a call that waits looks whether another process has settled what it had reserved."""

MOST_AT_ONCE = 500
"""The most admissions and reservations of one transaction."""

MOST_UNWRITTEN = 20_000
"""The most sums of usage that wait for a store that does not answer."""

CLOSE_SECONDS = 2.0
"""How long the end of the process waits for the last transaction."""


@dataclass(eq=False, slots=True)
class _Asked:
    """Somebody who waits for an outcome."""

    what: Admission | Reservation
    answer: "asyncio.Future[Outcome]"
    gives_up_at: float
    grants: Sequence[Grant] = ()


class Ledger:
    """The account of one process. Its methods belong to one event loop, and only `charge` to any thread."""

    def __init__(
        self,
        open_store: "Callable[[], Coroutine[Any, Any, Store]]",
        *,
        limits: Limits,
        usage_days: int,
        clock: Callable[[], float] = time.time,
        wait_seconds: float = WAIT_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        """`clock` says which day it is, in seconds since 1970."""
        self.limits = limits
        self._usage_days = usage_days
        self._open_store = open_store
        self._clock = clock
        self._wait_seconds, self._busy_seconds, self._renew_seconds = wait_seconds, busy_seconds, renew_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None
        self._urgent, self._writing = asyncio.Event(), asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self._asked: list[_Asked] = []
        self._waiting: list[_Asked] = []
        self._open: set[str] = set()
        self._lock = threading.Lock()
        self._sums: dict[Call, Charge] = {}
        self._settled: list[Charge] = []
        self._renewed_at = 0.0
        self._closing = self._failed = self._idles = False
        self._cleaned = ""

    @property
    def loop(self) -> "asyncio.AbstractEventLoop | None":
        """The event loop of the service, once it was used."""
        return self._loop

    def is_of_thread(self, thread: int) -> bool:
        """Whether the event loop runs in this thread, and so waits if the thread waits."""
        return thread == self._thread

    def attach(self) -> None:
        """Belong to the running event loop, before anything else. An app may be started again on another one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._thread = loop, threading.get_ident()
            self._urgent, self._writing, self._writer = asyncio.Event(), asyncio.Lock(), None

    def today(self) -> str:
        """The day of UTC, against which a call counts that begins now."""
        return day_of(self._clock())

    # -- what begins ------------------------------------------------------------------------------------------------

    async def admit(self, owner: Owner, *, counts: bool = True, asks: bool = False) -> Standing | None:
        """Count a request, unless a limit is reached. Returns what is left. For the arguments see `Admission`.

        Raises:
            LimitReached: the request must wait until the limit resets.
            StoreUnavailable: the database does not answer.
        """
        self.attach()
        if not (self.limits.of_tokens or (self.limits.of_requests and counts)):
            return None
        outcome = await self._ask(Admission(owner=owner, counts=counts, asks=asks))
        if isinstance(outcome, Reached):
            raise limit_reached(outcome, now=self._clock())
        assert isinstance(outcome, Standing)
        return outcome

    async def reserve(self, call: Call, tokens: int, *, grant: Grant | None = None) -> Reservation:
        """Reserve tokens for a call. It waits while others have reserved what is left. A `grant` raises its user's
        limit before.

        Raises:
            LimitReached: so many tokens are not left.
            StoreUnavailable: the database does not answer.
        """
        asked = Reservation(id=new_id("hold"), call=call, tokens=tokens)
        outcome = await self._ask(asked, grants=() if grant is None else (grant,))
        if isinstance(outcome, Later):
            raise limit_reached(outcome.reached, now=self._clock(), needed=tokens, waited=True)
        if isinstance(outcome, Reached):
            raise limit_reached(outcome, now=self._clock(), needed=tokens)
        return asked

    async def _ask(self, what: Admission | Reservation, *, grants: Sequence[Grant] = ()) -> Outcome:
        loop = asyncio.get_running_loop()
        one = _Asked(what, loop.create_future(), loop.time() + self._wait_seconds, grants)
        self._asked.append(one)
        self._wake()
        try:
            return await one.answer
        except asyncio.CancelledError:
            if isinstance(what, Reservation) and one.answer.done() and not one.answer.cancelled():
                # The answer and the cancellation came at the same time.
                self.release(what)
            raise

    def release(self, reserved: Reservation) -> None:
        """Give back the tokens of a call that is not made. Does nothing if they were not reserved."""
        self.charge(Charge(call=reserved.call, calls=0, reservation=reserved.id))

    # -- what was used ----------------------------------------------------------------------------------------------

    def charge(self, charge: Charge) -> None:
        """Count what a call has used. It is written soon, and never waits."""
        with self._lock:
            if charge.reservation is not None:
                self._settled.append(charge)
            elif (before := self._sums.get(charge.call)) is not None:
                self._sums[charge.call] = _sum(before, charge)
            elif len(self._sums) < MOST_UNWRITTEN:
                self._sums[charge.call] = charge
            else:
                logger.error("the usage of a call of the graph %s was not recorded: too many wait", charge.call.graph)
        assert self._loop is not None, "a run attaches the ledger before its first call"
        if threading.get_ident() == self._thread:
            self._wake()
            return
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            # The event loop is closed.
            logger.error(
                "the usage of a call of the graph %s was not recorded: it outlived the service", charge.call.graph
            )

    async def write(self) -> None:
        """Write now what was used, for somebody who wants to read it. If the store does not answer, it is written
        later."""
        self.attach()
        # A task of its own: a transaction whose end nobody sees would be repeated.
        writing = asyncio.create_task(self._write_once(), context=Context())
        await asyncio.wait([writing])

    async def aclose(self) -> None:
        """Write what was used, and end."""
        if self._loop is not asyncio.get_running_loop():
            return
        self._closing = True
        self._wake()
        self._urgent.set()
        writer, self._writer = self._writer, None
        assert writer is not None, "`_wake` has started it"
        # Not cancelled at once: nobody would know whether its transaction was committed.
        await asyncio.wait([writer], timeout=CLOSE_SECONDS)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        self._closing = False
        for one in [*self._asked, *self._waiting]:
            if not one.answer.done():
                one.answer.set_exception(StoreUnavailable("the service is stopping"))
        self._asked, self._waiting = [], []
        with self._lock:
            lost = len(self._sums) + len(self._settled)
        if lost:
            logger.error("the usage of %d calls or more was not recorded: the store does not answer", lost)

    # -- the transactions -------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._asked or self._waiting or self._idles:
            self._urgent.set()
        if self._writer is None or self._writer.done():
            # In an empty context: the task serves many runs.
            self._writer = asyncio.create_task(self._write(), context=Context())

    async def _write(self) -> None:
        while (pause := self._pause()) is not None:
            # While there is nothing to do but to renew, whatever comes is news.
            idled = self._idles = pause == self._renew_seconds
            if pause:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._urgent.wait()
            self._idles = False
            if idled and self._urgent.is_set():
                self._urgent.clear()
                continue
            self._urgent.clear()
            await self._write_once()

    def _pause(self) -> float | None:
        """How long the next transaction may wait for more. `None`: there is nothing to write."""
        if self._asked:
            return 0.0
        with self._lock:
            used = bool(self._sums or self._settled)
        if self._closing:
            return (GATHER_SECONDS if self._failed else 0.0) if used else None
        if self._waiting:
            # What was settled here may be what they wait for.
            return 0.0 if self._settled else LOOK_SECONDS
        if used:
            return RETRY_SECONDS if self._failed else GATHER_SECONDS
        return self._renew_seconds if self._open else None

    async def _write_once(self) -> None:
        async with self._writing:
            await self._write_all()

    async def _write_all(self) -> None:
        asked = [one for one in [*self._waiting, *self._asked] if not one.answer.done()]
        asked, self._asked, self._waiting = asked[:MOST_AT_ONCE], asked[MOST_AT_ONCE:], []
        with self._lock:
            sums, self._sums = self._sums, {}
            settled, self._settled = self._settled, []
        try:
            await self._apply(asked, [*sums.values(), *settled])
        except BaseException as error:
            self._put_back(sums, settled)
            failure = error if isinstance(error, AgentError) else StoreUnavailable("the limits could not be checked")
            for one in asked:
                if not one.answer.done():
                    one.answer.set_exception(failure)
            if not isinstance(error, Exception):
                raise
            if not isinstance(error, AgentError):
                logger.error("usage could not be written: %s", describe_error(error))
            self._failed = True
        else:
            self._failed = False

    async def _apply(self, asked: Sequence[_Asked], charges: Sequence[Charge]) -> None:
        now, started = self._clock(), time.monotonic()
        renews = bool(self._open) and started - self._renewed_at >= self._renew_seconds
        if not (asked or charges or renews):
            return
        admissions = [(one, one.what) for one in asked if isinstance(one.what, Admission)]
        reservations = [(one, one.what) for one in asked if isinstance(one.what, Reservation)]
        ended = {one.reservation for one in charges}
        minute = minute_of(now)
        batch = UsageBatch(
            limits=self.limits,
            now=now,
            busy_seconds=self._busy_seconds,
            usage_days=self._usage_days,
            charges=charges,
            renewed=[one for one in self._open if one not in ended] if renews else (),
            grants=[grant for one in asked for grant in one.grants],
            admissions=[what for _, what in admissions],
            reservations=[what for _, what in reservations],
            cleans=minute != self._cleaned,
        )
        store = await self._open_store()
        outcomes = await store.usage.apply(batch)
        self._cleaned = minute
        if renews:
            self._renewed_at = started
        self._open.difference_update(one for one in ended if one is not None)
        for (one, _), admitted in zip(admissions, outcomes.admissions, strict=True):
            _answer(one, admitted)
        for (one, what), reserved in zip(reservations, outcomes.reservations, strict=True):
            if isinstance(reserved, Later) and asyncio.get_running_loop().time() < one.gives_up_at:
                # Its grant is written.
                self._waiting.append(replace(one, grants=()))
                continue
            if reserved is None:
                self._open.add(what.id)
            if not _answer(one, reserved) and reserved is None:
                # Its run was cancelled meanwhile.
                self.release(what)

    def _put_back(self, sums: Mapping[Call, Charge], settled: Sequence[Charge]) -> None:
        with self._lock:
            later, self._sums = self._sums, dict(sums)
            for call, charge in later.items():
                self._sums[call] = _sum(self._sums[call], charge) if call in self._sums else charge
            self._settled = [*settled, *self._settled]


def _answer(one: _Asked, outcome: Outcome) -> bool:
    """Answer, and say whether somebody still waits for it."""
    if one.answer.done():
        return False
    one.answer.set_result(outcome)
    return True


def _sum(one: Charge, other: Charge) -> Charge:
    return replace(
        one,
        calls=one.calls + other.calls,
        input_tokens=one.input_tokens + other.input_tokens,
        cached_tokens=one.cached_tokens + other.cached_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
    )

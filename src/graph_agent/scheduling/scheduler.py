"""Begins the runs of schedules. Several processes may do so with one store: each time has one run."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from datetime import datetime
from typing import TYPE_CHECKING, Any

from graph_agent.app_context import AppContext
from graph_agent.errors import AgentError, ConversationBusy, NotReady, ServiceStopping, StoreUnavailable, TooManyRuns
from graph_agent.foreign_errors import describe_error
from graph_agent.identity.owner import Owner
from graph_agent.protocol.dialects import OPENAI
from graph_agent.runs.graph_source import Graphs
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.scheduling.schedule_file import Parse, Schedule
from graph_agent.stores.schedule_records import EarlierRunGoesOn, Tick, TickTaken

if TYPE_CHECKING:
    from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""How soon a run that cannot begin now is tried again."""

LONGEST_SLEEP = 30.0
"""How soon a change of the clock is noticed."""

MOST_COUNTED = 1000
"""Of more times that were missed, it is only said that there were more."""

LATER = (ConversationBusy, NotReady, StoreUnavailable, TooManyRuns)
"""Why a run may begin a little later."""


class Scheduler:
    """The schedules of one process. All of it belongs to one event loop."""

    def __init__(
        self,
        schedules: Sequence[Schedule],
        *,
        runs: Runs,
        store: "Callable[[], Coroutine[Any, Any, Store]]",
        app: AppContext,
        graphs: Graphs,
        parse: Parse,
        clock: Callable[[], float] = time.time,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """`store` returns the open store, and `clock` the seconds since 1970."""
        self._schedules = schedules
        self._runs = runs
        self._store = store
        self._app = app
        self._graphs = graphs
        self._parse = parse
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._began = clock()
        self._handled: dict[str, float] = {}
        """Name -> the last time that was dealt with, as far as this process knows."""
        self._put_off: dict[str, float] = {}
        """Name -> the time whose run could not begin yet, so that this is logged once."""
        self._working: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start to begin runs. A schedule that the store does not know begins with its next time."""
        self._began = self._clock()
        if self._schedules:
            # In an empty context: it must not inherit anything of what begins it.
            self._working = asyncio.get_running_loop().create_task(self._work(), context=Context())

    async def aclose(self) -> None:
        """Begin no more runs. One whose record is being written begins."""
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def look(self) -> float:
        """Begin the runs that are due. Returns the seconds until that must be done again."""
        return min([LONGEST_SLEEP, *[await self._looked_at(one) for one in self._schedules]])

    async def _work(self) -> None:
        while True:
            seconds = await self.look()
            await asyncio.sleep(seconds)

    async def _looked_at(self, schedule: Schedule) -> float:
        """Begin the run of a schedule if it is due. Returns the seconds until it must be looked at again."""
        looked = self._clock()
        try:
            if not await self._deal_with(schedule, looked):
                return self._retry_seconds
        except ServiceStopping:
            # Another process begins it, or the next one.
            return LONGEST_SLEEP
        except Exception as error:  # noqa: BLE001 - one schedule must not stop the others
            why = error.code if isinstance(error, AgentError) else describe_error(error)
            logger.error("schedule %s could not be looked at: %s", schedule.name, why)
            return self._retry_seconds
        # After the look, and not after now: a time that has come while the store answered must not wait for the next.
        soonest = schedule.cron.after(looked)
        return LONGEST_SLEEP if soonest is None else max(soonest - self._clock(), 0.0)

    async def _deal_with(self, schedule: Schedule, now: float) -> bool:
        """Begin the run of a schedule if it is due. Returns whether that is settled."""
        due, known = schedule.cron.latest(now), self._handled.get(schedule.name)
        if due is None or (known is not None and due <= known):
            return True
        store, owner = await self._store(), Owner.of(schedule.owner)
        last = await store.schedules.last_tick(owner, schedule.name, new=self._began if known is None else known)
        if due > last:
            if now - due > schedule.grace_seconds:
                if await store.schedules.pass_over(owner, schedule.name, due):
                    self._tell_missed(schedule, last, through=due)
            elif not await self._begin_run(schedule, store, due, last):
                return False
        self._handled[schedule.name] = max(due, last)
        self._put_off.pop(schedule.name, None)
        return True

    async def _begin_run(self, schedule: Schedule, store: "Store", due: float, last: float) -> bool:
        """Begin the run of this time. Returns whether that is settled: by this process, or by another one."""
        at = _shown(schedule, due)
        try:
            request = RunRequest(
                invocation=self._parse(schedule.body(due)),
                dialect=OPENAI,
                owner=schedule.owner,
                accepted_at=time.time(),
            )
            begun = await self._runs.submit(
                request,
                # It never waits for its conversation here: the schedules after it would wait too.
                Scope(app=self._app, ends_by=time.monotonic()),
                graphs=self._graphs,
                store=store,
                tick=Tick(schedule=schedule.name, at=due, alone=schedule.alone),
            )
        except TickTaken:
            return True
        except EarlierRunGoesOn as earlier:
            await self._pass_over(schedule, store, due, last, f"skipped, because the run of {earlier.response} goes on")
            return True
        except LATER as error:
            if self._put_off.get(schedule.name) != due:
                self._put_off[schedule.name] = due
                logger.warning("schedule %s: the run of %s cannot begin yet: %s", schedule.name, at, error.code)
            return False
        except ServiceStopping:
            raise
        except AgentError as error:
            # Its message is ours, and free of secrets.
            await self._pass_over(schedule, store, due, last, f"refused: {error.message}")
            return True
        logger.info("schedule %s: the run of %s begins as %s", schedule.name, at, begun.id)
        self._tell_missed(schedule, last, before=due)
        return True

    async def _pass_over(self, schedule: Schedule, store: "Store", due: float, last: float, why: str) -> None:
        if await store.schedules.pass_over(Owner.of(schedule.owner), schedule.name, due):
            logger.warning("schedule %s: the run of %s is %s", schedule.name, _shown(schedule, due), why)
            self._tell_missed(schedule, last, before=due)

    def _tell_missed(
        self, schedule: Schedule, last: float, *, before: float | None = None, through: float | None = None
    ) -> None:
        """Log the times after `last` at which nothing began, so that none is lost silently."""
        missed = 0
        first = newest = 0.0
        for found in schedule.cron.times_after(last):
            if (before is not None and found >= before) or (through is not None and found > through):
                break
            first, newest, missed = first or found, found, missed + 1
            if missed == MOST_COUNTED:
                break
        if missed:
            logger.warning(
                "schedule %s: %s%d times were missed, from %s to %s%s, and no run begins for them",
                schedule.name,
                "at least " if missed == MOST_COUNTED else "",
                missed,
                _shown(schedule, first),
                _shown(schedule, newest),
                " and later" if missed == MOST_COUNTED else "",
            )


def _shown(schedule: Schedule, moment: float) -> str:
    return datetime.fromtimestamp(moment, schedule.cron.zone).isoformat(timespec="minutes")

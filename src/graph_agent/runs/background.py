"""Runs in the background: queued in the store, taken by any process that shares it, and taken over when one is gone."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from graph_agent.app_context import AppContext
from graph_agent.errors import AgentError, GraphFailed, RunCancelled, StoreUnavailable
from graph_agent.foreign_errors import describe_error
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.identity.user_token import UserToken
from graph_agent.runs.cancellations import end_cancelled_runs
from graph_agent.runs.compacting import Compaction
from graph_agent.runs.graph_source import Graphs
from graph_agent.runs.journal import Journal
from graph_agent.runs.observers import RunObserver
from graph_agent.runs.request import Scope
from graph_agent.settings import Budgets
from graph_agent.stores.run_records import ClaimedRun, RunLimits, RunState
from graph_agent.stores.store import QUEUE

if TYPE_CHECKING:
    from graph_agent.runs.ledger import Ledger
    from graph_agent.runs.run import Run
    from graph_agent.runs.succession import Succession
    from graph_agent.stores.store import Listening, Store

logger = logging.getLogger(__name__)

LEASE_SECONDS = 4.0
"""How long a run stays this process's own after the process was last heard of."""

RENEWALS = 4
"""How often this process says so in that time."""

LOOK_SECONDS = 1.0
"""How often it looks for runs while there are some, whose process may die. A signal makes it look sooner."""

IDLE_SECONDS = 30.0
"""The same while there are none, so that a database may sleep."""

MOST_CRASHES = 3
"""A run after which its process was gone so many times, without a new checkpoint, is not run again."""

SUSPECT = 2
"""A run after so many of these may be their cause. So it runs alone."""

MOST_OUTAGES = 3
"""How often a process puts a run back, which does not come further, because the store did not answer its graph. Then
the run fails: the graph may ask for something that the store never answers."""

OUTAGE_SECONDS = 0.5
"""The pause after the first of these. It doubles each time."""

AWAY_SECONDS = 60.0
"""How long a process tries to put a run back."""

RETRY_SECONDS = 0.5
"""The pause between these tries."""

GIVEN_AWAY_SECONDS = 3.0
"""How long a process that stops waits until its runs are given away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run in the background needs of its app."""

    app: AppContext
    graphs: Graphs
    observers: Callable[[], Iterable[RunObserver]]
    """The observers of a new run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundLimits:
    """How many runs may be in the background, and how long each may take."""

    here: int
    per_owner: int
    in_all: int
    queued: int
    seconds: float
    lease_seconds: float = LEASE_SECONDS


class _KeptToken(NamedTuple):
    """A token of a user, in memory."""

    token: UserToken
    since: float
    """In terms of `time.monotonic()`."""


class _Outages(NamedTuple):
    """How often the store did not answer a run since it came further."""

    times: int
    since: float
    """When the first was, in terms of `time.monotonic()`."""

    @classmethod
    def none(cls) -> "_Outages":
        """There was none, or the run has come further since."""
        return cls(0, time.monotonic())


class Background:
    """The runs in the background of one process. All of it belongs to one event loop."""

    def __init__(
        self,
        *,
        process: str,
        limits: BackgroundLimits,
        budgets: Budgets,
        journal: Journal,
        store: "Callable[[], Coroutine[Any, Any, Store]]",
        adopted: "Callable[[Run], None]",
        memories: Any = None,
        ledger: "Ledger | None" = None,
        compaction: Compaction | None = None,
        shares: bool = False,
        find: "Callable[[str], Run | None]" = lambda response_id: None,
        has_runs: Callable[[], bool] = lambda: False,
    ) -> None:
        """`store` returns the open store. `adopted` is called with each run that starts, so that it can be joined.

        `has_runs` says whether this process has runs which the store knows, in the foreground too. `find` is one of
        them, which is ended if another process cancels it.

        With `shares`, other processes on this machine use the same store.
        """
        self.process = process
        self.limits = limits
        self._budgets = budgets
        self._journal = journal
        self._store = store
        self._adopted = adopted
        self._memories, self._ledger = memories, ledger
        self._compaction = compaction or Compaction()
        self._shares = shares
        self._find, self._has_runs = find, has_runs
        self._surroundings: Surroundings | None = None
        self._active: dict[str, Run] = {}
        self._steered: set[str] = set()
        """The ids of runs that this process has, but that have not begun, and for which messages have come."""
        self._suspects: set[str] = set()
        self._attempts: dict[str, int] = {}
        """Response id -> attempt, of all runs of which this process renews the lease."""
        self._outages: dict[str, _Outages] = {}
        self._tokens: dict[str, _KeptToken] = {}
        self._awaited: dict[str, asyncio.Event] = {}
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._taking: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        """Those of the tasks that run a run."""
        self._stopping = False
        self._stopped = asyncio.Event()
        """Set with `_stopping`, for those that pause."""
        self.looked_at: float | None = None
        """When it last looked for runs in the store with success, in terms of `time.monotonic()`."""

    # -- the life of the process ------------------------------------------------------------------------------------

    def begin(self, surroundings: Surroundings) -> None:
        """Start to take runs."""
        self._surroundings, self._stopping = surroundings, False
        # Another lifespan of the app may have another event loop.
        self._news, self._stopped = asyncio.Event(), asyncio.Event()
        self._taking = self._task(self._take_runs())
        self._task(self._renew_leases())
        self._task(
            end_cancelled_runs(
                self.process, store=self._store, shares=self._shares, has_runs=self._has_runs, find=self._find
            )
        )

    async def give_away(self) -> None:
        """Take no more runs, and put those of this process back into the queue."""
        self._stopping = True
        self._news.set()
        self._stopped.set()
        if self._taking is not None:
            # It may be taking a run at this moment.
            await asyncio.wait([self._taking], timeout=GIVEN_AWAY_SECONDS)
        runs = list(self._active.values())
        for run in runs:
            run.give_away("queued")
        if runs:
            logger.info("stopping: %d runs in the background go back to the queue", len(runs))
        if self._running:
            # They put the runs back.
            await asyncio.wait(list(self._running), timeout=GIVEN_AWAY_SECONDS)

    async def aclose(self) -> None:
        """Stop everything."""
        await self.give_away()
        for one in self._tasks:
            one.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._surroundings = self._taking = None
        self._tokens.clear()

    async def begins_here(self, response_id: str, *, seconds: float) -> bool:
        """Wait until this process begins a run that is queued, and at most so long. Returns whether it has begun."""
        if response_id in self._active:
            return True
        begun = self._awaited.setdefault(response_id, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await begun.wait()
        except TimeoutError:
            return False
        finally:
            self._awaited.pop(response_id, None)
        return True

    @property
    def surroundings(self) -> Surroundings | None:
        """What a run needs of its app, once runs are taken."""
        return self._surroundings

    def steered(self, response_id: str) -> None:
        """Messages wait for a response. Its run may be about to begin here."""
        if response_id in self._attempts:
            self._steered.add(response_id)

    def look(self) -> None:
        """Look for runs now."""
        self._news.set()

    def keep_token(self, response_id: str, token: UserToken) -> None:
        """Keep the token of the user for whom a run acts, in memory, until the run has ended."""
        # Another process may have ended the run. Its token must not stay here for longer than a run can take.
        oldest = time.monotonic() - self.limits.seconds
        self._tokens = {
            id_: kept
            for id_, kept in self._tokens.items()
            if id_ in self._attempts or (kept.since > oldest and not kept.token.expired())
        }
        self._tokens[response_id] = _KeptToken(token, time.monotonic())

    async def bring_token(self, owner: Caller, response_id: str, token: UserToken) -> bool:
        """Go on with a run that waits for a token of its user. Returns whether it waited.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        if token.expired():
            return False
        store = await self._store()
        self.keep_token(response_id, token)
        if not await store.runs.wake(Owner.of(owner), response_id, home=self.process):
            if response_id not in self._attempts:
                self._tokens.pop(response_id, None)
            return False
        self.look()
        return True

    # -- which runs this process has --------------------------------------------------------------------------------

    async def _take_runs(self) -> None:
        while not self._stopping:
            try:
                store = await self._store()
                if self._shares or store.may_be_shared:
                    # Before the first look, so that nothing is missed in between.
                    async with store.signals.listening(QUEUE) as queue:
                        await self._look_again_and_again(store, queue)
                else:
                    await self._look_again_and_again(store, None)
            except AgentError as error:
                logger.debug("no runs could be taken: %s", error.code)
            except Exception as error:  # noqa: BLE001 - taking runs must go on
                logger.error("runs could not be taken from the store: %s", describe_error(error))
            await self._news_within(LOOK_SECONDS)

    async def _look_again_and_again(self, store: "Store", queue: "Listening | None") -> None:
        while not self._stopping:
            self._news.clear()
            await self._take(store)
            self.looked_at = time.monotonic()
            seconds = LOOK_SECONDS if self._attempts or await store.runs.has_open() else IDLE_SECONDS
            if queue is None:
                await self._news_within(seconds)
                continue
            heard = asyncio.ensure_future(queue.wait(seconds))
            news = asyncio.ensure_future(self._news.wait())
            try:
                await asyncio.wait([heard, news], return_when=asyncio.FIRST_COMPLETED)
            finally:
                heard.cancel()
                news.cancel()

    async def _news_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    async def _take(self, store: "Store") -> None:
        limits = RunLimits(
            here=0 if self._suspects else self.limits.here - len(self._attempts),
            per_owner=self.limits.per_owner,
            in_all=self.limits.in_all,
            alone=not self._attempts,
        )
        for claimed in await store.runs.claim(self.process, limits=limits, busy_seconds=self.limits.lease_seconds):
            self._attempts[claimed.response] = claimed.attempt
            if claimed.crashes >= SUSPECT:
                # No other run begins beside it.
                self._suspects.add(claimed.response)
            running = self._task(self._run(store, claimed))
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def _run(self, store: "Store", claimed: ClaimedRun) -> None:
        """Run a claimed run to its end, or to the end of this process's part in it."""
        from graph_agent.runs.background_attempt import begun, end_without_graph

        assert self._surroundings is not None
        run: Run | None = None
        outages = self._outages.pop(claimed.response, _Outages.none())
        try:
            error = self._why_not(claimed)
            token = self._usable_token(claimed)
            if error is None and claimed.needs_token and token is None:
                if claimed.seconds_left > 0:
                    await self._put_back(claimed, to="parked")
                else:
                    await end_without_graph(store, claimed, None)
                return
            if error is None:
                try:
                    run = await begun(
                        store,
                        claimed,
                        process=self.process,
                        journal=self._journal,
                        graphs=self._surroundings.graphs,
                        budgets=replace(self._budgets, seconds=max(claimed.seconds_left, 0.001)),
                        observers=self._surroundings.observers(),
                        memories=self._memories,
                        ledger=self._ledger,
                        compaction=self._compaction,
                        may_wait=outages.times < MOST_OUTAGES,
                    )
                except AgentError as problem:
                    error = problem
            if run is None:
                assert error is not None
                await end_without_graph(store, claimed, error)
                return
            self._active[run.id] = run
            run.succession = self._succession(claimed)
            if run.id in self._steered:
                run.steer()
            run.start(Scope(app=self._surroundings.app, token=token, facts={"run_id": run.id}))
            self._adopted(run)
            if (awaited := self._awaited.get(run.id)) is not None:
                awaited.set()
            if self._stopping:
                run.give_away("queued")
            await run.ended()
            if run.fate == "queued" and not self._stopping:
                await self._outlast(claimed, _Outages.none() if run.came_further else outages)
            elif run.fate in ("queued", "parked"):
                await self._put_back(claimed, to=run.fate)
        except StoreUnavailable:
            # Nothing of the graph has run.
            await self._outlast(claimed, outages)
        except AgentError as problem:
            logger.error("run %s could not be continued here: %s", claimed.response, problem.code)
        except Exception as problem:  # noqa: BLE001 - one run must not end the others
            logger.error("run %s could not be continued here: %s", claimed.response, describe_error(problem))
        finally:
            self._attempts.pop(claimed.response, None)
            self._suspects.discard(claimed.response)
            self._active.pop(claimed.response, None)
            self._steered.discard(claimed.response)
            if claimed.response not in self._outages:
                self._tokens.pop(claimed.response, None)
            self.look()

    def _succession(self, claimed: ClaimedRun) -> "Succession | None":
        """How the successor of a run begins that is steered."""
        from graph_agent.runs.heirs import QueuedSuccession

        tokens, response = self._tokens, claimed.response

        def queued(successor: str) -> None:
            if (kept := tokens.get(response)) is not None:
                self.keep_token(successor, kept.token)
            self.look()

        return QueuedSuccession(
            process=self.process, needs_token=claimed.needs_token, seconds=self.limits.seconds, queued=queued
        )

    def _usable_token(self, claimed: ClaimedRun) -> UserToken | None:
        kept = self._tokens.get(claimed.response)
        return None if kept is None or kept.token.expired() else kept.token

    def _why_not(self, claimed: ClaimedRun) -> AgentError | None:
        if claimed.cancelled:
            return RunCancelled("the run was cancelled")
        if claimed.crashes >= MOST_CRASHES:
            return GraphFailed(
                f"the process of this run ended {claimed.crashes} times without a word, and without progress between: "
                "the graph may use too much memory, or crash a library"
            )
        return None

    async def _outlast(self, claimed: ClaimedRun, outages: _Outages) -> None:
        """The store did not answer a run: put it back when the store answers again."""
        oldest = time.monotonic() - self.limits.seconds
        self._outages = {id_: one for id_, one in self._outages.items() if one.since > oldest}
        self._outages[claimed.response] = outages._replace(times=outages.times + 1)
        # A process that stops waits less than the pause may take, and a run that it keeps counts as crashed.
        with suppress(TimeoutError):
            async with asyncio.timeout(OUTAGE_SECONDS * 2 ** min(outages.times, MOST_OUTAGES)):
                await self._stopped.wait()
        await self._put_back(claimed, stays=claimed.needs_token)

    async def _put_back(self, claimed: ClaimedRun, *, to: RunState = "queued", stays: bool = False) -> None:
        """`stays`: this process has the token of the run's user, so the others leave the run to it for a time."""
        ends = time.monotonic() + AWAY_SECONDS
        while True:
            home = self.process if stays and not self._stopping else None
            try:
                store = await self._store()
                await store.runs.release(claimed.right, process=self.process, to=to, home=home)
                return
            except AgentError as error:
                if not isinstance(error, StoreUnavailable) or time.monotonic() > ends:
                    # Its lease expires, and then it counts as crashed.
                    logger.error("run %s could not be put back into the queue: %s", claimed.response, error.code)
                    return
            await asyncio.sleep(RETRY_SECONDS)

    # -- leases -----------------------------------------------------------------------------------------------------

    async def _renew_leases(self) -> None:
        while True:
            began = time.monotonic()
            if self._attempts:
                await self._renew()
            await asyncio.sleep(max(self.limits.lease_seconds / RENEWALS - (time.monotonic() - began), 0.01))

    async def _renew(self) -> None:
        attempts = dict(self._attempts)
        try:
            async with asyncio.timeout(self.limits.lease_seconds / 2):
                store = await self._store()
                renewed = await store.runs.renew(self.process, attempts, busy_seconds=self.limits.lease_seconds)
        except Exception as error:  # noqa: BLE001 - the next renewal may succeed, and the store compares every write
            logger.warning(
                "the leases of %d background runs could not be renewed: %s", len(attempts), describe_error(error)
            )
            return
        for one in renewed.lost:
            run = self._active.get(one)
            # A run that has ended is not lost, and one that writes its end learns from the store if it is.
            if run is not None and not run.is_ending and self._attempts.get(one) == attempts[one]:
                logger.error("run %s was taken over by another process", one)
                run.lose()
        for one in renewed.cancelled:
            if (run := self._active.get(one)) is not None:
                self._task(run.cancel())

    def _task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        # In an empty context: it must not inherit anything of a request.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

"""The registry of runs: it starts, finds, cancels and drains them, for HTTP and for `GraphResponsesAgent`."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graph_agent.errors import RunNotFound, ServiceStopping
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.runs.background import Background, BackgroundLimits
from graph_agent.runs.compacting import Compaction
from graph_agent.runs.event_log import Entry, Outlet
from graph_agent.runs.graph_source import Graphs
from graph_agent.runs.journal import Journal
from graph_agent.runs.kept_logs import KeptLogs
from graph_agent.runs.observers import RunObserver
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.runs.run_budgets import tighten_budgets
from graph_agent.runs.slots import Slot, Slots
from graph_agent.runs.turns import Turns
from graph_agent.settings import Budgets

if TYPE_CHECKING:
    from graph_agent.protocol.compaction import Window
    from graph_agent.protocol.item_shapes import Item
    from graph_agent.protocol.requests import Invocation
    from graph_agent.runs.attempts import Tracked
    from graph_agent.runs.ledger import Ledger
    from graph_agent.runs.run import Run
    from graph_agent.runs.submitting import Submission
    from graph_agent.stores.memories import OpenStore
    from graph_agent.stores.schedule_records import Tick
    from graph_agent.stores.store import RunStore, Store
    from graph_agent.stores.usage_records import Standing

logger = logging.getLogger(__name__)

FORCED_DRAIN_SECONDS = 0.1
"""How quickly `drain` notices a second Ctrl-C."""

MOST_KEPT = 16
"""The most ended runs that are kept because a reader may come back, and that are not stored. Each keeps up to 16 MB of
events."""

STORED_GRACE_SECONDS = 20.0
"""How long a stored run waits for a reader to come back, unless the settings say otherwise."""

CANCEL_SECONDS = 0.05
"""How often it is looked whether cancelled runs of other processes have ended."""

QUIET_SECONDS = 60.0
"""The default time without events after which a reader gets an empty batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What one process does at one moment."""

    foreground: int
    """The active runs that belong to a request."""

    background: int
    """The active runs in the background."""

    readers: int
    """The readers of runs: open streams, and requests that wait for a whole answer."""

    waiting: int
    """The requests that wait until their conversation is free."""

    slots: int | None
    """The most runs of requests, or `None` for no limit."""

    taken: int
    """The slots that are taken."""


class Reader:
    """One reader of a run. Iterate over it once, and always call `leave()`."""

    def __init__(
        self,
        batches: AsyncIterator[Sequence[Entry]],
        left: Callable[[], Awaitable[None]],
        *,
        outlet: Outlet | None = None,
    ) -> None:
        self._batches = batches
        self.outlet = outlet
        """Where events may go at once, if that is possible. What it takes is not iterated over."""
        self._left: Callable[[], Awaitable[None]] | None = left

    def __aiter__(self) -> AsyncIterator[Sequence[Entry]]:
        return self._batches

    async def leave(self) -> None:
        """Stop reading. After the last reader has left, the run is cancelled, if need be after the grace period."""
        left, self._left = self._left, None
        if left is not None:
            await left()


class Runs:
    """The active runs, and the ended runs that still have readers. All of them belong to one event loop."""

    def __init__(
        self,
        *,
        budgets: Budgets,
        most: int | None = None,
        grace_seconds: float | None = None,
        waits: bool = False,
        rejects_unanswered: bool = False,
        memories: "OpenStore | None" = None,
        shares: bool = False,
        background: "BackgroundLimits | None" = None,
        open_store: "Callable[[], Coroutine[Any, Any, Store]] | None" = None,
        event_log_seconds: float = 3600.0,
        ledger: "Ledger | None" = None,
        compaction: Compaction | None = None,
        ignores_tools: bool = False,
    ) -> None:
        """At most `most` runs may be active, or any number for `None`.

        With `waits`, a run whose conversation is busy waits for its turn, at most as long as it may run. Without, it is
        refused.

        With `rejects_unanswered`, a message while a graph waits for a person's decision counts as a rejection.

        A streamed run is cancelled when it has had no reader for `grace_seconds`. `None`: 20 for one that is stored,
        because its stream can be joined again, and 0 for others. A run with a whole answer is cancelled as soon as its
        caller leaves, unless the request has a key with which the caller can come back.

        `memories` returns the store in which graphs remember things, when a graph asks for it.

        With `shares`, other processes on this machine use the same store, so that it must know the stored runs.

        `background` limits the runs in the background, and `open_store` returns the store that has them. Without these
        two, there are none.

        `ledger` counts requests and tokens, and refuses those over the limits for people.

        With `ignores_tools`, a graph that takes no tools of clients runs without them. Without, it refuses the request.

        `compaction` has the keys of compacted histories. Without it, the store has the key.

        The events of a stored run can be read for `event_log_seconds` after its end, unless too many others have ended
        since.
        """
        self.process = new_process_id()
        self._ledger = ledger
        self.compaction = compaction or Compaction()
        self._ignores_tools = ignores_tools
        self._shares = shares
        self._run_store: RunStore | None = None
        self._journal = Journal(self._runs_in_store)
        self.background: Background | None = None
        if background is not None and open_store is not None:
            self.background = Background(
                process=self.process,
                limits=background,
                budgets=budgets,
                journal=self._journal,
                store=self._opened(open_store),
                adopted=self._adopt,
                memories=memories,
                ledger=ledger,
                compaction=self.compaction,
                shares=shares,
                find=self._find,
                has_runs=lambda: any(one.run.is_journaled for one in self._known.values()),
            )
        self._memories = memories
        self._budgets = budgets
        self._slots = Slots(most)
        self._grace_seconds = grace_seconds
        self._known: dict[str, _Known] = {}
        self.kept = KeptLogs(seconds=event_log_seconds)
        """The logs of stored runs that have ended, and whose events the store does not have."""
        self._draining = self._drained = False

        def turns() -> Turns:
            return Turns(
                waits=waits,
                slots=self._slots,
                find=self._find,
                end_left=self._end_left,
                writing=self._writing,
                is_stopping=lambda: self._draining,
                rejects_unanswered=rejects_unanswered,
                compaction=self.compaction,
            )

        self._turns = turns()
        self._turns_of_connections = turns()
        """Those in the store that connections share, which has leases of its own."""

    @property
    def draining(self) -> bool:
        """Whether new runs are refused because the process is about to end."""
        return self._draining

    @property
    def waiting(self) -> int:
        """How many requests wait until their conversation is free."""
        return self._turns.waiting + self._turns_of_connections.waiting

    @property
    def activity(self) -> Activity:
        """What this process does at this moment."""
        known = list(self._known.values())
        active = [one.run for one in known if not one.run.over]
        background = sum(run.in_background for run in active)
        return Activity(
            foreground=len(active) - background,
            background=background,
            readers=sum(one.readers for one in known),
            waiting=self.waiting,
            slots=self._slots.most,
            taken=self._slots.taken,
        )

    def require_free_slot(self) -> None:
        """Check that a slot is free now, without taking it.

        Raises:
            TooManyRuns: all slots are taken.
        """
        self._slots.require_free()

    def slot(self) -> Slot:
        """Take a slot for a run, for example while its request is still being parsed.

        Raises:
            ServiceStopping: new runs are refused.
            TooManyRuns: all slots are taken.
        """
        if self._draining:
            raise stopping()
        return self._slots.take()

    async def start(
        self,
        request: RunRequest,
        scope: Scope,
        *,
        graphs: Graphs,
        observers: Iterable[RunObserver] = (),
        slot: Slot | None = None,
        store: "Store | None" = None,
    ) -> "Run":
        """Start a run of the request's graph. The run continues without readers until the first one has left.

        `slot` is a slot of this registry that was taken before. Without it, the run takes one.

        `store` is needed for a request that is stored, or that refers to something stored. Its place in the
        conversation is found here, unless the request has a turn already. For a request with a `connection`, it is the
        store that connections share.

        Raises:
            AgentError: the run cannot start; the message says why.
        """
        # Late: this imports LangGraph, which takes seconds, and the port is bound before that.
        from graph_agent.runs.run import Run

        with slot or self.slot() as taken:
            name = request.invocation.graph or graphs.default
            graph = await graphs.get(name)
            request = self._taken_by(graph, request)
            standing = await self._admitted(request, stored=store is not None and request.invocation.stored)
            observers = list(observers)
            compaction = await self.compaction.of_run(request, store=store, graphs=graphs, graph=name)

            def run_of(request: RunRequest) -> Run:
                # Loading the graph may have taken long. A run that starts after the drain would not be ended by it.
                if self._drained:
                    raise stopping()
                return Run(
                    graph=graph,
                    name=name,
                    request=request,
                    budgets=tighten_budgets(self._budgets, request),
                    observers=observers,
                    memories=self._memories,
                    ledger=self._ledger,
                    standing=standing,
                    compaction=compaction,
                )

            if store is None:
                run = run_of(request)
            else:
                if request.connection is None:
                    self._run_store = store.runs
                from graph_agent.runs.open_thread import keeps_messages

                turns = self._turns if request.connection is None else self._turns_of_connections
                run = await turns.begin(
                    request,
                    store=store,
                    graph=name,
                    keeps_messages=keeps_messages(graph),
                    run_of=run_of,
                    slot=taken,
                    seconds=self._seconds_of(scope),
                    tracked=self._tracked(request, store),
                )
                if self._drained:
                    await run.give_up(stopping())
                    raise stopping()
            taken.has_run = True
            # From here on the slot belongs to the run and is released when its graph has stopped.
            known = self._known[run.id] = _Known(run, self._grace_of(run.request), taken)
            if store is not None:
                self._let_follow(known, scope, store)
            run.start(scope)
            run.when_over(lambda: self._over(known))
        return run

    async def submit(
        self,
        request: RunRequest,
        scope: Scope,
        *,
        graphs: Graphs,
        store: "Store",
        needs_token: bool = False,
        tick: "Tick | None" = None,
    ) -> "Submission":
        """Put a request into the queue of background runs. Its conversation is busy from now on.

        With `needs_token`, the run acts for its user. The token of `scope` stays in the memory of this process. A run
        of a schedule takes its `tick`.

        Raises:
            AgentError: the request is refused; the message says why.
            TickTaken, EarlierRunGoesOn: no run begins at this time of its schedule.
        """
        # Late, as in `start`.
        from graph_agent.runs.open_thread import keeps_messages
        from graph_agent.runs.submitting import Submission

        background = self.background
        if background is None or self._draining:
            raise stopping()
        name = request.invocation.graph or graphs.default
        graph = await graphs.get(name)
        request = self._taken_by(graph, request)
        # The operator has decided how often a schedule begins a run.
        standing = await self._admitted(request, stored=True, counts=tick is None)

        def submission_of(planned: RunRequest) -> Submission:
            return Submission(
                planned,
                graph,
                name=name,
                process=self.process,
                limits=background.limits,
                needs_token=needs_token,
                tick=tick,
                standing=standing,
            )

        self._run_store = store.runs
        submission = await self._turns.begin(
            request,
            store=store,
            graph=name,
            keeps_messages=keeps_messages(graph),
            run_of=submission_of,
            slot=None,
            seconds=self._seconds_of(scope),
        )
        if needs_token and scope.token is not None:
            background.keep_token(submission.id, scope.token)
        background.look()
        return submission

    def _taken_by(self, graph: Any, request: RunRequest) -> RunRequest:
        """The request as the graph takes it."""
        if not self._ignores_tools or not (request.invocation.tools or request.invocation.servers):
            return request
        from graph_agent.runs.client_tools import without_ignored_tools

        return without_ignored_tools(request, graph)

    async def _admitted(self, request: RunRequest, *, stored: bool, counts: bool = True) -> "Standing | None":
        """Count a request against the limits for people. A run that is stored can ask its user to go on."""
        if self._ledger is None:
            return None
        asks = stored and self._ledger.limits.user_extra_tokens is not None
        return await self._ledger.admit(Owner.of(request.owner), counts=counts, asks=asks)

    async def history(
        self,
        owner: Caller,
        items: "Sequence[Item]",
        *,
        store: "Store",
        previous: str | None = None,
        conversation: str | None = None,
    ) -> "Window":
        """What a graph would read of a stored conversation, up to the response `previous` or to its newest response,
        and of these items.

        Raises:
            AgentError: an item, the response or the conversation does not exist, is in progress, or cannot be opened.
        """
        return await self._turns.history(owner, items, store=store, previous=previous, conversation=conversation)

    def own(self, owner: Caller, run_id: str) -> "Run | None":
        """A run of this owner that this process has, or `None`."""
        try:
            return self._of(owner, run_id).run
        except RunNotFound:
            return None

    async def admit_steer(self, owner: Owner) -> None:
        """Count messages for a response in progress as a request, because another run begins with them.

        Raises:
            LimitReached: the caller must wait until a limit resets.
            StoreUnavailable: the database does not answer.
        """
        if self._ledger is not None:
            await self._ledger.admit(owner)

    def steered(self, run_id: str) -> None:
        """Messages wait for a response. Its run stops for them, if this process has it."""
        if (run := self._find(run_id)) is not None:
            run.steer()
        elif self.background is not None:
            self.background.steered(run_id)

    def read(self, run: "Run", *, after: int = -1, quiet_seconds: float = QUIET_SECONDS) -> Reader:
        """A reader of a run. It gets batches of the events with a number above `after`, and an empty batch after each
        `quiet_seconds` without an event."""
        # A run that has ended may be forgotten already. Its log can still be read.
        known = self._known.setdefault(run.id, _Known(run, self._grace_of(run.request)))
        known.reader_came()
        outlet = Outlet()
        batches = run.batches(after=after, quiet_seconds=quiet_seconds, outlet=outlet)
        return Reader(batches, lambda: self._left(known), outlet=outlet)

    def join(self, owner: Caller, run_id: str, *, after: int = -1, quiet_seconds: float = QUIET_SECONDS) -> Reader:
        """Add a reader to a run of this owner, as in `read`. The run may have ended.

        Raises:
            RunNotFound: this process has no such run of this owner.
        """
        if (log := self.kept.find(owner, run_id)) is not None:
            return Reader(log.read(after=after, quiet_seconds=quiet_seconds), _nothing)
        return self.read(self._of(owner, run_id).run, after=after, quiet_seconds=quiet_seconds)

    def events_of(self, owner: Caller, run_id: str) -> Sequence[Entry]:
        """The events so far of a run of this owner, as readers see them.

        Raises:
            RunNotFound: this process has no such run of this owner.
        """
        if (log := self.kept.find(owner, run_id)) is not None:
            return log.shown
        return self._of(owner, run_id).run.log.shown

    def when_over(self, run_id: str, notify: Callable[[], None]) -> None:
        """Call `notify` once when this run is over, if this process has it."""
        if (run := self._find(run_id)) is not None:
            run.when_over(notify)

    async def cancel(self, owner: Caller, run_id: str) -> None:
        """Stop a run of this owner, including its current model call, and wait until that is recorded. Does nothing if
        the run has ended.

        Raises:
            RunNotFound: this process has no such run of this owner.
        """
        await self._of(owner, run_id).run.cancel()

    async def with_history(self, caller: Caller, invocation: "Invocation", *, store: "Store") -> "Invocation":
        """The invocation with the items of the stored history that it names in place of that name.

        Raises:
            AgentError: the history does not exist, or its newest response is in progress.
        """
        # Late, as in `start`.
        from graph_agent.runs.continuing import Continuing

        return await Continuing(store.responses, writing=self._writing).with_history(Owner.of(caller), invocation)

    def forget_thread(self, thread: str) -> None:
        """Forget what is kept in memory of a thread that only a connection remembered."""
        self._turns_of_connections.forget(thread)

    async def end_background_of(self, owner: Caller, *, store: "Store", within_seconds: float) -> None:
        """Cancel the runs of this owner in the background, at any process, and wait at most so long for their ends.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        ends = time.monotonic() + within_seconds
        while left := await store.runs.cancel_all(Owner.of(owner)):
            if time.monotonic() >= ends:
                return
            if self.background is not None:
                self.background.look()
            here = [run for one in left if (run := self._find(one)) is not None and not run.over]
            # At least this long: other processes need it too.
            waiting = asyncio.sleep(CANCEL_SECONDS)
            await asyncio.gather(waiting, *(run.cancel() for run in here), return_exceptions=True)

    async def drain(self, *, within_seconds: float, is_forced: Callable[[], bool] = lambda: False) -> None:
        """Refuse new runs, wait for the active ones, and after `within_seconds` end the rest with `service_stopping`.

        The wait ends early when `is_forced` returns true.
        """
        self._draining = True
        giving = None if self.background is None else asyncio.ensure_future(self.background.give_away())
        active = [one.run for one in self._known.values() if not one.run.over and not one.run.in_background]
        if active:
            logger.info("stopping: %d runs have %g s to finish", len(active), within_seconds)
        # In short steps, because `is_forced` can only be polled: uvicorn sets a flag.
        waiting = {asyncio.ensure_future(run.ended()) for run in active}
        ends = asyncio.get_running_loop().time() + within_seconds
        while waiting and not is_forced() and asyncio.get_running_loop().time() < ends:
            _, waiting = await asyncio.wait(waiting, timeout=FORCED_DRAIN_SECONDS)
        self._drained = True
        for known in list(self._known.values()):
            if not known.run.in_background:
                known.run.interrupt(stopping())
        if giving is not None:
            await giving

    async def end(self, *, within_seconds: float) -> None:
        """End every active run with `service_stopping`, and wait for the ends for at most `within_seconds`."""
        await self.drain(within_seconds=0.0)
        ending = [asyncio.ensure_future(known.run.ended()) for known in self._known.values() if not known.run.over]
        if ending:
            await asyncio.wait(ending, timeout=within_seconds)
        self.kept.clear()

    async def aclose(self) -> None:
        """Stop the runs in the background, after those of requests have ended. Another process goes on with them."""
        if self.background is not None:
            await self.background.aclose()

    def accept(self) -> None:
        """Accept new runs again: an app may be started again after it was stopped."""
        self._draining = self._drained = False

    # -- runs that the store knows --------------------------------------------------------------------------------

    def _tracked(self, request: RunRequest, store: "Store") -> "Tracked | None":
        if not request.invocation.stored or not (request.key or self._shares or store.may_be_shared):
            return None
        from graph_agent.runs.attempts import Tracked

        return Tracked(process=self.process, journal=self._journal)

    def _let_follow(self, known: "_Known", scope: Scope, store: "Store") -> None:
        """Let another run follow one that is steered, with its slot."""
        run = known.run
        if run.request.turn is None or run.request.turn.repeats is not None:
            return
        from graph_agent.runs.heirs import HereSuccession

        surroundings = None if self.background is None else self.background.surroundings
        leases, recent = self._turns.memory_of(store)

        def adopt(heir: "Run") -> Callable[[], None]:
            heirs = self._known[heir.id] = _Known(heir, self._grace_of(heir.request), known.pass_slot())
            self._let_follow(heirs, scope, store)
            return lambda: heir.when_over(lambda: self._over(heirs))

        run.succession = HereSuccession(
            scope,
            budgets=self._budgets,
            memories=self._memories,
            ledger=self._ledger,
            observers=(lambda: ()) if surroundings is None else surroundings.observers,
            store=store,
            leases=leases,
            recent=recent,
            tracked=self._tracked(run.request, store),
            require_service=self._require_service,
            adopt=adopt,
        )

    def _require_service(self) -> None:
        if self._draining:
            raise stopping()

    def _runs_in_store(self) -> "RunStore":
        assert self._run_store is not None, "a run is journaled in the store that it was begun in"
        return self._run_store

    def _opened(
        self, open_store: "Callable[[], Coroutine[Any, Any, Store]]"
    ) -> "Callable[[], Coroutine[Any, Any, Store]]":
        async def opened() -> "Store":
            store = await open_store()
            self._run_store = store.runs
            return store

        return opened

    def _adopt(self, run: "Run") -> None:
        """Let readers join a run in the background."""
        known = self._known[run.id] = _Known(run, 0.0)
        run.when_over(lambda: None if known.readers else self._forget(known))

    # -- which runs are known, and for how long -------------------------------------------------------------------

    def _find(self, run_id: str) -> "Run | None":
        known = self._known.get(run_id)
        return None if known is None else known.run

    def _seconds_of(self, scope: Scope) -> float:
        """How long a run of this scope may take, and so how long it may wait before."""
        if scope.ends_by is None:
            return self._budgets.seconds
        return min(self._budgets.seconds, scope.ends_by - time.monotonic())

    def _of(self, owner: Caller, run_id: str) -> "_Known":
        known = self._known.get(run_id)
        # One error for both: whether another owner has such a run must not be visible.
        if known is None or known.run.request.owner.user != owner.user:
            raise RunNotFound("there is no such run: it has ended, or it never started here")
        return known

    def _grace_of(self, request: RunRequest) -> float:
        if request.connection is not None:
            # Nobody can come back to it.
            return 0.0
        # A caller with a key comes back for a whole answer, too.
        if request.invocation.mode != "stream" and request.key is None:
            return 0.0
        if not request.dialect.rejoined:
            return 0.0
        if self._grace_seconds is not None:
            return self._grace_seconds
        return STORED_GRACE_SECONDS if request.turn is not None else 0.0

    def _over(self, known: "_Known") -> None:
        if (slot := known.pass_slot()) is not None:
            slot.free()
        self._keep_log(known)
        if known.waiting and not known.is_told:
            self._forget_oldest()
        elif not known.readers:
            self._forget(known)

    async def _left(self, known: "_Known") -> None:
        known.readers -= 1
        if known.readers or (known.run.in_background and not known.run.over):
            return
        if known.grace_seconds and not (known.run.over and known.is_told):
            known.wait(lambda: self._abandon(known))
            self._forget_oldest()
        else:
            await self._end(known)

    async def _end_left(self, run_id: str) -> bool:
        """End a run that waits for a reader to come back, because its conversation goes on without it, and say whether
        it was one. A caller with a key comes back in any case."""
        known = self._known.get(run_id)
        if known is None or not known.waiting or known.run.over or known.run.request.key is not None:
            return False
        known.stop_waiting()
        await self._end(known)
        return known.run.over

    def _writing(self, owner: Owner, item_id: str) -> str | None:
        for known in self._known.values():
            # The items of other runs are stored, or never will be.
            if known.run.over or known.run.request.turn is None or known.run.request.keeper != owner:
                continue
            if known.run.has_sent(item_id):
                return known.run.id
        return None

    def _abandon(self, known: "_Known") -> None:
        known.ending = asyncio.ensure_future(self._end(known))

    async def _end(self, known: "_Known") -> None:
        await known.run.aclose()
        # A reader may have come while the graph was stopping.
        if not known.readers:
            self._forget(known)

    def _keep_log(self, known: "_Known") -> None:
        # Once: what was deleted since must not come back.
        if known.is_kept and not known.was_kept:
            known.was_kept = True
            self.kept.keep(known.run.id, known.run.log, known.run.request)

    def _forget_oldest(self) -> None:
        kept = [known for known in self._known.values() if known.waiting and known.run.over]
        for known in kept[:-MOST_KEPT]:
            self._forget(known)

    def _forget(self, known: "_Known") -> None:
        known.stop_waiting()
        if known.run.over:
            # Its readers may leave before it is told that the run is over.
            self._keep_log(known)
        self._known.pop(known.run.id, None)


class _Known:
    """One run and the number of its readers."""

    def __init__(self, run: "Run", grace_seconds: float, slot: Slot | None = None) -> None:
        self.run = run
        self._slot = slot
        self.grace_seconds = grace_seconds
        self.readers = 0
        self.was_kept = False
        self.ending: asyncio.Future[None] | None = None
        """The task that ends the run after its grace period. It is kept here because a loop holds only weak references
        to tasks."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_kept(self) -> bool:
        """Whether its log is kept in memory after its end."""
        turn = self.run.request.turn
        if not self.run.request.can_be_joined:
            return False
        # A run that repeats an earlier response tells it in other events.
        return turn is not None and turn.repeats is None and not self.run.is_journaled

    @property
    def is_told(self) -> bool:
        """Whether its events can be read after its end without it."""
        return self.is_kept or self.run.is_journaled

    @property
    def waiting(self) -> bool:
        """Whether the last reader has left and may come back."""
        return self._timer is not None

    def pass_slot(self) -> Slot | None:
        """The slot of the run, which it does not have any more. `None`: it has none."""
        slot, self._slot = self._slot, None
        return slot

    def reader_came(self) -> None:
        """Count one more reader."""
        self.stop_waiting()
        self.readers += 1

    def wait(self, then: Callable[[], None]) -> None:
        """Call `then` when no reader has come during the grace period."""
        self._timer = asyncio.get_running_loop().call_later(self.grace_seconds, then)

    def stop_waiting(self) -> None:
        """Stop waiting for a reader."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def new_process_id() -> str:
    """The id of this process among those that share a store."""
    return f"proc_{secrets.token_hex(8)}"


async def _nothing() -> None:
    """A run that has ended does not mind that its reader leaves."""


def stopping() -> ServiceStopping:
    """The error for a request that arrives while the process is about to end."""
    return ServiceStopping("the service is stopping; send the request again")

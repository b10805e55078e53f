"""The runs of one process: started, found again, cancelled and drained here, for HTTP and for `GraphResponsesAgent`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from graph_agent.errors import RunNotFound, ServiceStopping, TooManyRuns
from graph_agent.identity.caller import Caller
from graph_agent.runs.event_log import Entry
from graph_agent.runs.observers import RunObserver
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.settings import Budgets

if TYPE_CHECKING:
    from graph_agent.runs.run import Run

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 2

FORCED_DRAIN_SECONDS = 0.1
"""How soon a second Ctrl-C is noticed."""

MOST_KEPT = 16
"""Runs that have ended and that nobody reads, but a reader may come back to: each keeps up to 16 MB of events."""

QUIET_SECONDS = 60.0
"""After which a reader that does not say otherwise is handed an empty batch."""


class Graphs(Protocol):
    """Where graphs come from; `graph_agent.catalog.catalog` has the real one."""

    @property
    def default(self) -> str:
        """The name of the graph that answers when a request names none."""

    async def get(self, name: str) -> Any:
        """The compiled graph of that name."""


class Slot:
    """The right to one run. As a context manager it is given back at the block's end, unless a run has it by then."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back
        self.has_run = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.has_run:
            self.free()

    def free(self) -> None:
        """Give it back; a second time does nothing."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


class Reader:
    """One reader of a run. Iterate over it once, and call `leave()` in every case."""

    def __init__(self, batches: AsyncIterator[Sequence[Entry]], left: Callable[[], Awaitable[None]]) -> None:
        self._batches = batches
        self._left: Callable[[], Awaitable[None]] | None = left

    def __aiter__(self) -> AsyncIterator[Sequence[Entry]]:
        return self._batches

    async def leave(self) -> None:
        """It reads no more. Where it was the last one, the run is cancelled, or will be after the time of grace."""
        left, self._left = self._left, None
        if left is not None:
            await left()


class Runs:
    """Every run under way, and those that somebody still reads. All of them belong to one event loop."""

    def __init__(self, *, budgets: Budgets, most: int | None = None, grace_seconds: float = 0.0) -> None:
        """`most` runs may be under way at once, `None` for any number. A run that is streamed is cancelled when it has
        had no reader for `grace_seconds`; one whose answer comes whole, as soon as its caller leaves."""
        self._budgets = budgets
        self._most = most
        self._grace_seconds = grace_seconds
        self._taken = 0
        self._known: dict[str, _Known] = {}
        self._draining = self._drained = False

    @property
    def draining(self) -> bool:
        """Whether no new runs are taken, as the process is about to end."""
        return self._draining

    def require_free_slot(self) -> None:
        """See that there is a free slot now.

        Raises:
            TooManyRuns: all are taken.
        """
        if self._most is not None and self._taken >= self._most:
            raise TooManyRuns(f"{self._most} runs are under way; try again shortly", retry_after=RETRY_AFTER_SECONDS)

    def slot(self) -> Slot:
        """A slot for a run whose request is yet to be read.

        Raises:
            ServiceStopping: no new runs are taken.
            TooManyRuns: all are taken.
        """
        if self._draining:
            raise stopping()
        self.require_free_slot()
        self._taken += 1
        return Slot(self._give_back)

    async def start(
        self,
        request: RunRequest,
        scope: Scope,
        *,
        graphs: Graphs,
        observers: Iterable[RunObserver] = (),
        slot: Slot | None = None,
    ) -> "Run":
        """A run of the request's graph, under way. It goes on without readers until one has come and left.

        `slot` is one of this registry's, taken before; without it the run takes one.

        Raises:
            AgentError: the run cannot start; the message says why.
        """
        # Late: it imports LangGraph, which takes seconds, and the port is bound before that.
        from graph_agent.runs.run import Run

        with slot or self.slot() as taken:
            name = request.invocation.graph or graphs.default
            graph = await graphs.get(name)
            if self._drained:
                raise stopping()
            run = Run(
                graph=graph,
                name=name,
                request=request,
                budgets=tighten_budgets(self._budgets, request),
                observers=observers,
            )
            run.start(scope)
            taken.has_run = True
            known = self._known[run.id] = _Known(run, self._grace_of(request))
            run.when_over(lambda: self._over(known, taken))
        return run

    def read(self, run: "Run", *, after: int = -1, quiet_seconds: float = QUIET_SECONDS) -> Reader:
        """A reader of a run: batches of the events numbered above `after`, an empty one after each `quiet_seconds` of
        silence."""
        known = self._known.setdefault(run.id, _Known(run, self._grace_of(run.request)))
        known.reader_came()
        return Reader(run.batches(after=after, quiet_seconds=quiet_seconds), lambda: self._left(known))

    def join(self, owner: Caller, run_id: str, *, after: int = -1, quiet_seconds: float = QUIET_SECONDS) -> Reader:
        """One more reader of that owner's run, as `read`.

        Raises:
            RunNotFound: the owner has no such run here.
        """
        return self.read(self._of(owner, run_id).run, after=after, quiet_seconds=quiet_seconds)

    async def cancel(self, owner: Caller, run_id: str) -> None:
        """Stop that owner's run, down to the model call under way; does nothing to one that has ended.

        Raises:
            RunNotFound: the owner has no such run here.
        """
        await self._of(owner, run_id).run.aclose()

    async def drain(self, *, within_seconds: float, is_forced: Callable[[], bool] = lambda: False) -> None:
        """Take no new runs, let those under way finish for so long, then end the rest with `service_stopping`.

        Once `is_forced` says so they are not waited for.
        """
        self._draining = True
        active = [known.run for known in self._known.values() if not known.run.over]
        if active:
            logger.info("stopping: %d runs have %g s to finish", len(active), within_seconds)
        waiting = {asyncio.ensure_future(run.ended()) for run in active}
        ends = asyncio.get_running_loop().time() + within_seconds
        while waiting and not is_forced() and asyncio.get_running_loop().time() < ends:
            _, waiting = await asyncio.wait(waiting, timeout=FORCED_DRAIN_SECONDS)
        self._drained = True
        for known in list(self._known.values()):
            known.run.interrupt(stopping())

    async def end(self, *, within_seconds: float) -> None:
        """End every run that is still under way with `service_stopping`, and wait for that for at most so long."""
        await self.drain(within_seconds=0.0)
        ending = [asyncio.ensure_future(known.run.ended()) for known in self._known.values() if not known.run.over]
        if ending:
            await asyncio.wait(ending, timeout=within_seconds)

    def accept(self) -> None:
        """Take new runs again: an app may be started anew after it was stopped."""
        self._draining = self._drained = False

    # -- who is known, and for how long ---------------------------------------------------------------------------

    def _of(self, owner: Caller, run_id: str) -> "_Known":
        known = self._known.get(run_id)
        if known is None or known.run.request.owner.user != owner.user:
            raise RunNotFound("no such run: it has ended, or it never started here")
        return known

    def _grace_of(self, request: RunRequest) -> float:
        return self._grace_seconds if request.invocation.mode == "stream" else 0.0

    def _give_back(self) -> None:
        self._taken -= 1

    def _over(self, known: "_Known", slot: Slot) -> None:
        slot.free()
        if known.waiting:
            self._forget_oldest()
        elif not known.readers:
            self._forget(known)

    async def _left(self, known: "_Known") -> None:
        known.readers -= 1
        if known.readers:
            return
        if known.grace_seconds:
            known.wait(lambda: self._abandon(known))
            self._forget_oldest()
        else:
            await self._end(known)

    def _abandon(self, known: "_Known") -> None:
        known.ending = asyncio.ensure_future(self._end(known))

    async def _end(self, known: "_Known") -> None:
        await known.run.aclose()
        if not known.readers:
            self._forget(known)

    def _forget_oldest(self) -> None:
        kept = [known for known in self._known.values() if known.waiting and known.run.over]
        for known in kept[:-MOST_KEPT]:
            self._forget(known)

    def _forget(self, known: "_Known") -> None:
        known.stop_waiting()
        self._known.pop(known.run.id, None)


class _Known:
    """One run, and how many read it."""

    def __init__(self, run: "Run", grace_seconds: float) -> None:
        self.run = run
        self.grace_seconds = grace_seconds
        self.readers = 0
        self.ending: asyncio.Future[None] | None = None
        """The task that ends it after its time of grace; kept here, as a loop holds tasks weakly."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Whether its last reader has left and may come back."""
        return self._timer is not None

    def reader_came(self) -> None:
        """One more reads it."""
        self.stop_waiting()
        self.readers += 1

    def wait(self, then: Callable[[], None]) -> None:
        """Do that when no reader has come for the time of grace."""
        self._timer = asyncio.get_running_loop().call_later(self.grace_seconds, then)

    def stop_waiting(self) -> None:
        """Wait for no reader any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def stopping() -> ServiceStopping:
    """What is said to a request that comes while the process is about to end."""
    return ServiceStopping("the service is stopping; send the request again")


def tighten_budgets(budgets: Budgets, request: RunRequest) -> Budgets:
    """A request may ask for less than the service allows, never for more."""
    asked = request.invocation
    return replace(
        budgets,
        tool_calls=min(budgets.tool_calls, asked.max_tool_calls or budgets.tool_calls),
        output_tokens=min(budgets.output_tokens, asked.max_output_tokens or budgets.output_tokens),
    )

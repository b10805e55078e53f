"""Begins the successors of runs that were steered: in this process, or in the queue of background runs."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error
from graph_agent.runs.leases import Lease, Leases
from graph_agent.runs.observers import RunObserver
from graph_agent.runs.queued_run import queued_run
from graph_agent.runs.recent_messages import RecentMessages
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.runs.run import Run, head_of
from graph_agent.runs.run_budgets import tighten_budgets
from graph_agent.runs.succession import Heir, Steered, new_response
from graph_agent.settings import Budgets
from graph_agent.stores.records import Successor
from graph_agent.stores.run_records import FOREVER

if TYPE_CHECKING:
    from graph_agent.runs.attempts import Tracked
    from graph_agent.runs.ledger import Ledger
    from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)


class HereSuccession:
    """The successors of a run in the foreground. They run in this process, too, and wait for readers."""

    def __init__(
        self,
        scope: Scope,
        *,
        budgets: Budgets,
        memories: Any,
        ledger: "Ledger | None",
        observers: Callable[[], Iterable[RunObserver]],
        store: "Store",
        leases: Leases,
        recent: RecentMessages | None,
        tracked: "Tracked | None",
        require_service: Callable[[], None],
        adopt: Callable[[Run], Callable[[], None]],
    ) -> None:
        """`scope` is that of the run. `require_service` raises if no more runs may begin. `adopt` is called with a
        successor before it starts, and what it returns after that."""
        # Nobody waits for the successor, so its time is not that of the request.
        self._scope = replace(scope, ends_by=None)
        self._budgets, self._observers = budgets, observers
        self._memories, self._ledger = memories, ledger
        self._store, self._leases, self._recent, self._tracked = store, leases, recent, tracked
        self._require_service, self._adopt = require_service, adopt

    async def heir(self, run: Steered, request: RunRequest) -> Heir:
        """See `Succession.heir`."""
        self._require_service()
        return _HeirHere(
            Run(
                graph=run.graph,
                name=run.head.model,
                request=request,
                budgets=tighten_budgets(self._budgets, request),
                observers=self._observers(),
                memories=self._memories,
                ledger=self._ledger,
            ),
            self._leases.new(),
            self,
            run,
        )

    def successor(self, run: Run, lease: Lease) -> Successor:
        """What the store is told of a successor."""
        tracked = None if self._tracked is None else self._tracked.new(run.request)
        return Successor(new=new_response(run.head, run.request, tracked), busy_until=lease.busy_until)

    async def begin(self, run: Run, lease: Lease, *, after: Steered) -> None:
        """Start a successor that the store has begun."""
        try:
            await run.record_in(self._store, self._leases, self._recent, tracked=self._tracked, lease=lease)
        except AgentError as error:
            logger.error("run %s could not start: %s", run.id, error.code)
            return
        except Exception as error:  # noqa: BLE001 - the run before it must end
            logger.error("run %s could not start: %s", run.id, describe_error(error))
            return
        after.heir = run
        started = self._adopt(run)
        run.start(replace(self._scope, facts={"run_id": run.id, "user": run.request.owner.user}))
        started()


class _HeirHere:
    def __init__(self, run: Run, lease: Lease, succession: HereSuccession, after: Steered) -> None:
        self._run, self._lease, self._succession, self._after = run, lease, succession, after
        self.successor = succession.successor(run, lease)

    async def begin(self) -> None:
        await self._succession.begin(self._run, self._lease, after=self._after)


class QueuedSuccession:
    """The successors of a run in the background. Any process runs them."""

    def __init__(self, *, process: str, needs_token: bool, seconds: float, queued: Callable[[str], None]) -> None:
        """`queued` is called with the id of a successor that the store has queued."""
        self._process, self._needs_token, self._seconds, self._queued = process, needs_token, seconds, queued

    async def heir(self, run: Steered, request: RunRequest) -> Heir:
        """See `Succession.heir`."""
        head = head_of(request, run.head.model)
        queued = await queued_run(
            request, head, process=self._process, needs_token=self._needs_token, seconds=self._seconds
        )
        return _QueuedHeir(Successor(new=new_response(head, request, queued), busy_until=FOREVER), self._queued)


class _QueuedHeir:
    def __init__(self, successor: Successor, queued: Callable[[str], None]) -> None:
        self.successor, self._queued = successor, queued

    async def begin(self) -> None:
        self._queued(self.successor.new.id)

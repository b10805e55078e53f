"""Makes the run of a claimed background run, or ends it if it cannot be run. Imports LangGraph."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graph_agent.errors import AgentError, LeaseLost, RequestUnreadable, RunCancelled, StoreUnavailable
from graph_agent.protocol.events import Event, ResponseHead, Usage
from graph_agent.protocol.json_encoding import encode
from graph_agent.protocol.logged_response import LoggedResponse
from graph_agent.protocol.lost_response import lost_end
from graph_agent.protocol.translator import Translator
from graph_agent.runs.attempts import Attempt
from graph_agent.runs.compacting import Compaction
from graph_agent.runs.event_log import Entry
from graph_agent.runs.graph_source import Graphs
from graph_agent.runs.journal import Journal
from graph_agent.runs.leases import Leases
from graph_agent.runs.ledger import Ledger
from graph_agent.runs.observers import RunObserver
from graph_agent.runs.request import RunRequest
from graph_agent.runs.run import Run
from graph_agent.runs.run_budgets import tighten_budgets
from graph_agent.runs.stored_log import entry_of
from graph_agent.runs.stored_requests import load_request
from graph_agent.settings import Budgets
from graph_agent.stores.records import EndedResponse, ResponseStatus
from graph_agent.stores.run_records import ClaimedRun, EventBatch

if TYPE_CHECKING:
    from graph_agent.stores.store import Store

MOST_READ = 5_000
"""Events that are read at once."""


async def begun(
    store: "Store",
    claimed: ClaimedRun,
    *,
    process: str,
    journal: Journal,
    graphs: "Graphs",
    budgets: Budgets,
    observers: Iterable[RunObserver],
    memories: Any,
    ledger: Ledger | None,
    compaction: Compaction,
    may_wait: bool,
) -> Run:
    """The run, which has not started. With `may_wait`, it goes back into the queue if the store does not answer it.

    Raises:
        AgentError: it cannot be run here.
    """
    request, head = await load_request(claimed.request)
    kept = journal.log_of(claimed.right, await logged(store, claimed))
    run = Run(
        graph=await graphs.get(head.model),
        name=head.model,
        request=request,
        budgets=tighten_budgets(budgets, request),
        observers=observers,
        memories=memories,
        ledger=ledger,
        compaction=await compaction.of_run(request, store=store, graphs=graphs, graph=head.model),
        head=head,
        attempt=Attempt(process=process, kept=kept, background=True, may_wait=may_wait),
    )
    await run.record_in(store, Leases(store.responses))
    if claimed.is_steered:
        run.steer()
    return run


async def logged(store: "Store", claimed: ClaimedRun) -> list[Entry]:
    """The events that earlier attempts have committed."""
    entries: list[Entry] = []
    while len(entries) < claimed.events:
        some = await store.runs.events(claimed.owner, claimed.response, after=len(entries) - 1, most=MOST_READ)
        if not some:
            raise StoreUnavailable("the events of the run could not be read")
        entries += [entry_of(len(entries) + place, data) for place, data in enumerate(some)]
    return entries


async def end_without_graph(store: "Store", claimed: ClaimedRun, error: AgentError | None) -> None:
    """End a run that is not run (any more), with the events and the record that any other run has. Without an `error`,
    its time is used up.

    Raises:
        LeaseLost: another process has it.
        StoreUnavailable: the database does not answer.
    """
    if isinstance(error, LeaseLost | StoreUnavailable):
        # Not an end: it is tried again.
        raise error
    entries = await logged(store, claimed)
    try:
        told, response = _end_of(*await load_request(claimed.request), entries, error)
    except RequestUnreadable as unreadable:
        error = error or unreadable
        told, response = _end_of_unreadable(entries, unreadable)
    events = [{**event, "sequence_number": number} for number, event in enumerate(told, start=len(entries))]
    right = claimed.right
    ended = EndedResponse(
        status=_status(error),
        response=response,
        checkpoint=None,
        right=right,
        # Its graph does not run, so nobody knows where a successor would go on.
        fails_steers=True,
        events=EventBatch(right=right, first=len(entries), events=tuple(bytes(encode(one)) for one in events)),
    )
    await store.responses.finish(claimed.owner, claimed.response, ended)


def _status(error: AgentError | None) -> ResponseStatus:
    if error is None:
        return "incomplete"
    return "cancelled" if isinstance(error, RunCancelled) else "failed"


def _end_of(
    request: RunRequest, head: ResponseHead, entries: Sequence[Entry], error: AgentError | None
) -> tuple[list[Event], Mapping[str, Any]]:
    """The last events of a run and its response."""
    translator = Translator.restored(
        [one.event for one in entries],
        dialect=request.dialect,
        head=head,
        known=request.invocation.messages,
        server=head.model,
    )
    ending = translator.cut("seconds", Usage()) if error is None else translator.fail(error, Usage())
    events = [*translator.start(), *ending]
    response = next(
        (one["response"] for one in reversed(events) if "response" in one and one["type"] != "response.in_progress"),
        None,
    )
    if response is None:
        # `/invocations` sends none when a run fails.
        assert error is not None
        response = translator.failed(error, Usage())
    return events, response


def _end_of_unreadable(entries: Sequence[Entry], error: AgentError) -> tuple[list[Event], Mapping[str, Any]]:
    """The same where only the events are known."""
    logged = LoggedResponse.read(one.event for one in entries)
    events = list(lost_end(logged, error, head={}))
    return events, events[-1]["response"]

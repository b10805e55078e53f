"""What is known of the request at hand, for its log lines: its run, tasks and threads have it from their scope."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph_agent.runs.observers import Outcome, RunInfo

Facts = dict[str, Any]

# One mutable value per request: what the run learns later shows in lines of tasks that began before.
_FACTS: ContextVar[Facts | None] = ContextVar("graph_agent_log_facts", default=None)


@contextmanager
def noting(facts: Facts | None) -> Iterator[None]:
    """Within it `note` adds to `facts`, and log lines show them; `None` means that no request is at hand."""
    before = _FACTS.set(facts)
    try:
        yield
    finally:
        _FACTS.reset(before)


def note(**facts: Any) -> None:
    """Remember these for the log lines of the request at hand; does nothing outside of one."""
    known = _FACTS.get()
    if known is not None:
        known.update(facts)


def facts_here() -> Facts | None:
    """Those of the request at hand, for the scope of its run; `None` outside of a request."""
    return _FACTS.get()


def facts() -> Mapping[str, Any]:
    """What is known of the request at hand."""
    return _FACTS.get() or {}


class LogFacts:
    """One of a run's observers: what is known of the run, in the log lines of its request."""

    handler = None

    def __init__(self, *, trace_id: Callable[[], str | None] = lambda: None) -> None:
        """`trace_id` is asked for when the run starts, after the observers before this one know that it does."""
        self._trace_id = trace_id

    def started(self, run: "RunInfo") -> None:
        """Note which run it is. A request that came without an id is known by its run's."""
        request_id = facts().get("request_id", run.id)
        user, trace_id = run.request.owner.user, self._trace_id()
        note(graph=run.graph, user=user, run_id=run.id, trace_id=trace_id, request_id=request_id)

    def ended(self, outcome: "Outcome") -> None:
        """Note how it ended, and what it cost."""
        usage = outcome.usage
        note(end=outcome.status, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)

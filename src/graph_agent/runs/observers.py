"""Who observes a run from outside: its trace, its log line, later its metrics and its record."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.events import Item, Usage
from graph_agent.runs.log_context import add_log_facts, log_facts
from graph_agent.runs.request import RunRequest

logger = logging.getLogger(__name__)

Status = Literal["completed", "incomplete", "failed", "cancelled", "interrupted"]
"""How a run ended. `interrupted`: its graph waits for a person's decision, see `Run.interrupted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What is known of a run when it starts."""

    id: str
    """Of the run, and of its response."""

    graph: str
    """The graph's name in `langgraph.json`."""

    request: RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    status: Status
    answer: str
    """The text of the answer, as far as it was written."""

    output: list[Item]
    """The items of the response."""

    usage: Usage
    """Tokens of all model calls."""

    error: AgentError | None
    """Why it failed, where it did."""


class RunObserver(Protocol):
    """Observes one run. What it raises is logged, and neither the run nor another observer notices.

    Both methods are called in the run's scope, on its event loop, and must not block. `ended` follows every `started`
    that did not raise.
    """

    @property
    def handler(self) -> Any | None:
        """A LangChain callback handler that sees each step of the run, if wanted; asked for once, after `started`."""

    def started(self, run: RunInfo) -> None:
        """The run is about to take its first step."""

    def ended(self, outcome: Outcome) -> None:
        """The graph has stopped."""


class Observers:
    """The observers of one run."""

    def __init__(self, observers: Iterable[RunObserver]) -> None:
        self._observers = list(observers)
        self._run_id = ""
        self.handlers: list[Any] = []
        """Their callback handlers, once the run has started."""

    def started(self, run: RunInfo) -> None:
        """Tell each that the run starts; one that raises hears no more of it."""
        self._run_id = run.id
        self._observers = [one for one in self._observers if self._survived(self._start, one, run)]

    def ended(self, outcome: Outcome) -> None:
        """Tell each that the run has ended."""
        for one in self._observers:
            self._survived(one.ended, outcome)

    def _start(self, observer: RunObserver, run: RunInfo) -> None:
        observer.started(run)
        handler = observer.handler
        if handler is not None:
            # LangChain would end the run with what a handler raises, if the handler said so.
            handler.raise_error = False
            self.handlers.append(handler)

    def _survived(self, told: Callable[..., None], *what: Any) -> bool:
        try:
            told(*what)
        except Exception as error:
            logger.error("an observer of run %s failed: %s", self._run_id, describe_error(error))
            return False
        return True


class LogFacts:
    """One of a run's observers: what is known of the run, in the log lines of its request."""

    handler = None

    def __init__(self, *, trace_id: Callable[[], str | None] = lambda: None) -> None:
        """`trace_id` is asked for when the run starts, after the observers before this one know that it does."""
        self._trace_id = trace_id

    def started(self, run: RunInfo) -> None:
        """Note which run it is. A request that came without an id is known by its run's."""
        request_id = log_facts().get("request_id", run.id)
        user, trace_id = run.request.owner.user, self._trace_id()
        add_log_facts(graph=run.graph, user=user, run_id=run.id, trace_id=trace_id, request_id=request_id)

    def ended(self, outcome: Outcome) -> None:
        """Note how it ended, and what it cost."""
        usage = outcome.usage
        add_log_facts(end=outcome.status, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)

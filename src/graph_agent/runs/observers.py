"""The observers of a run: its trace and its log facts."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.events import Item, Usage
from graph_agent.runs.log_context import add_log_facts, log_facts
from graph_agent.runs.request import RunRequest

if TYPE_CHECKING:
    # Imports LangChain, which takes seconds.
    from langchain_core.messages import BaseMessage

logger = logging.getLogger(__name__)

Status = Literal["completed", "incomplete", "failed", "cancelled", "interrupted"]
"""How a run ended. `interrupted` means that its graph waits for a person's decision: see `Run.interrupted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What is known of a run when it starts."""

    id: str
    """The id of the run and of its response."""

    graph: str
    """The name of the graph."""

    request: RunRequest

    messages: Sequence["BaseMessage"]
    """What the graph is told in this run: instructions and messages. A stored run has more in its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended."""

    status: Status
    answer: str
    """The text of the answer so far. It is partial if the run did not complete."""

    output: list[Item]
    """The items of the response."""

    usage: Usage
    """The tokens of all model calls."""

    error: AgentError | None
    """Why the run failed, or `None`."""

    first_text_at: float | None = None
    """When the first text was ready for readers, in terms of `time.monotonic()`, or `None` without text."""

    model_seconds: Sequence[float] = ()
    """How long each model call took that has ended. A model that other models wrap is part of the outermost call."""

    search_seconds: Sequence[float] = ()
    """How long each search took that has ended."""

    goes_on: bool = False
    """Whether this is not the end of the run: another attempt at it goes on, perhaps in another process."""


class RunObserver(Protocol):
    """Observes one run. An exception in it is logged and affects neither the run nor other observers.

    Both methods are called in the run's scope, on its event loop. They must not block. `ended` is called after every
    `started` that did not raise.
    """

    @property
    def handler(self) -> Any | None:
        """A LangChain callback handler for the steps of the run, or `None`. It is read once, after `started`."""

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
        """The callback handlers of the observers, after the run has started."""

    @property
    def trace_id(self) -> str | None:
        """The id of the run's trace, if it has one and has started."""
        found = (getattr(one, "trace_id", None) for one in self._observers)
        return next((one for one in found if isinstance(one, str)), None)

    def started(self, run: RunInfo) -> None:
        """Notify each observer that the run starts. One that raises is removed."""
        self._run_id = run.id
        self._observers = [one for one in self._observers if self._survived(self._start, one, run)]

    def ended(self, outcome: Outcome) -> None:
        """Notify each observer that the run has ended."""
        for one in self._observers:
            self._survived(one.ended, outcome)

    def gave_back(self, steers: int, code: str) -> None:
        """Notify those who want to know it that so many steers of the response were given back with this code."""
        for one in self._observers:
            notify = getattr(one, "gave_back", None)
            if notify is not None:
                self._survived(notify, steers, code)

    def _start(self, observer: RunObserver, run: RunInfo) -> None:
        observer.started(run)
        handler = observer.handler
        if handler is not None:
            # A handler with `raise_error` would end the run with its own exception.
            handler.raise_error = False
            self.handlers.append(handler)

    def _survived(self, notify: Callable[..., None], *arguments: Any) -> bool:
        try:
            notify(*arguments)
        except Exception as error:  # noqa: BLE001 - an observer may raise anything, and must not end the run
            logger.error("an observer of run %s failed: %s", self._run_id, describe_error(error))
            return False
        return True


class LogFacts:
    """The observer that adds facts about the run to the log lines of its request."""

    handler = None

    def __init__(self, *, trace_id: Callable[[], str | None] = lambda: None) -> None:
        """`trace_id` is called when the run starts. The observers before this one have been notified by then."""
        self._trace_id = trace_id

    def started(self, run: RunInfo) -> None:
        """Add which run it is. A request without an id of its own gets the id of the run."""
        request_id = log_facts().get("request_id", run.id)
        user, trace_id = run.request.owner.user, self._trace_id()
        add_log_facts(graph=run.graph, user=user, run_id=run.id, trace_id=trace_id, request_id=request_id)

    def ended(self, outcome: Outcome) -> None:
        """Add how the run ended and how many tokens it used."""
        usage = outcome.usage
        add_log_facts(end=outcome.status, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)


class Traced(RunObserver, Protocol):
    """An observer that makes the trace of a run."""

    @property
    def trace_id(self) -> str | None:
        """The id of the trace, once the run has started."""


def observers_of(trace: Traced | None, *more: RunObserver) -> list[RunObserver]:
    """The observers of a run: its trace, if it has one, the facts in its log lines, and `more`."""
    if trace is None:
        return [LogFacts(), *more]
    return [trace, LogFacts(trace_id=lambda: trace.trace_id), *more]

"""Run one graph once: a stream of events that always ends."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any

from langgraph.errors import GraphRecursionError
from langgraph.pregel import Pregel

from graph_agent.errors import AgentError, ApprovalsNotServed, RunCancelled
from graph_agent.foreign_errors import describe_error, dev_traceback
from graph_agent.protocol.events import Event, ResponseHead, Usage
from graph_agent.protocol.finish_reasons import EarlyEnd
from graph_agent.protocol.interrupts import Interrupted
from graph_agent.protocol.translator import Translator
from graph_agent.redaction.text import AT_ONCE
from graph_agent.run_lifetime import RunLifetime, within_lifetime
from graph_agent.runs.event_log import Entry, EventLog
from graph_agent.runs.event_writer import EventWriter
from graph_agent.runs.graph_context import fill_context
from graph_agent.runs.monitor import RunMonitor
from graph_agent.runs.observers import Observers, Outcome, RunInfo, RunObserver, Status
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.runs.returned_redaction import looked_through
from graph_agent.runs.safe_errors import safe_error
from graph_agent.runs.stream import stream_of
from graph_agent.settings import Budgets
from graph_agent.tool_call_policy import NotRun

logger = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""How long after its time a run's stream ends even if a node swallows its cancellation."""

FORCED_CANCEL_SECONDS = 5.0
"""How long closing waits for such a node."""

LEAST_SECONDS = 1.0
"""For a run whose time is nearly up when it starts."""


class Run:
    """One run of one graph for one request. `start()` once, then read `batches()`; `aclose()` stops it.

    The graph runs in a task of its own: a slow reader does not stretch its time limit, a quiet graph does not keep
    the reader from noticing that the caller left, and cancelling it reaches the model call under way.

    Raises:
        InvalidRequest: `custom_inputs` does not fit the graph's context.
    """

    def __init__(
        self,
        *,
        graph: Pregel[Any, Any, Any, Any],
        name: str,
        request: RunRequest,
        budgets: Budgets,
        observers: Iterable[RunObserver] = (),
    ) -> None:
        invocation = request.invocation
        self.head = ResponseHead(
            model=name,
            metadata=invocation.metadata,
            said=invocation.said,
            pending_usage=request.dialect.open_responses,
        )
        self.request = request
        self._graph = graph
        self._budgets = budgets
        self._observers = Observers(observers)
        # Before the first byte, so that a wrong `custom_inputs` is a 400 and not a broken stream.
        self._context = fill_context(
            graph.context_schema,
            caller=request.owner,
            thread=invocation.thread,
            custom_inputs=invocation.custom_inputs,
        )
        self._watch = RunMonitor(budgets)
        self._translator = Translator(
            dialect=request.dialect,
            head=self.head,
            known=invocation.messages,
            server=name,
            plain=invocation.mode == "reply",
            inputs_of=self._watch.inputs_of,
        )
        self._log = EventLog()
        self._events = EventWriter(self._log, most_bytes=budgets.event_bytes)
        self._lifetime = RunLifetime()
        self._task: asyncio.Task[None] | None = None
        self._seconds = budgets.seconds
        self._ending = False
        self._closed = False
        self._status: Status = "cancelled"
        self.failure: AgentError | None = None

    @property
    def id(self) -> str:
        """Of the run, and of its response."""
        return self.head.id

    def start(self, scope: Scope | None = None) -> None:
        """Begin, in that scope and without any other context variable of this code. The run's clocks begin here;
        events wait in order until they are read."""
        scope = scope or Scope()
        if scope.ends_by is not None:
            self._seconds = min(self._seconds, max(scope.ends_by - time.monotonic(), LEAST_SECONDS))
        scope.context().run(self._begin, scope)

    def _begin(self, scope: Scope) -> None:
        with scope.entered(), within_lifetime(self._lifetime):
            self._watch.start_clock(self._seconds)
            self._observers.started(RunInfo(id=self.id, graph=self.head.model, request=self.request))
            self._events.write(self._translator.start())
            self._task = asyncio.create_task(self._run())
            # One that is cancelled before its first step runs nothing of its own.
            self._task.add_done_callback(lambda task: self._close())

    def batches(self, *, quiet_seconds: float, after: int = -1) -> AsyncIterator[Sequence[Entry]]:
        """Events numbered above `after` as they come, several at once when the reader was busy; an empty batch on
        silence. Any number of readers, each of whom gets every event."""
        return self._log.read(after=after, quiet_seconds=quiet_seconds)

    async def reply(self) -> dict[str, Any]:
        """The whole response object.

        Raises:
            AgentError: the run failed; nothing of the stranger's exception is in it.
        """
        async for _ in self.batches(quiet_seconds=self._budgets.seconds + 1):
            pass
        if self.failure is not None:
            raise self.failure
        return self._events.response

    @property
    def over(self) -> bool:
        """Whether the graph has stopped."""
        return self._task is not None and self._task.done()

    @property
    def status(self) -> Status:
        """How it ended; `cancelled` until it has."""
        return self._status

    @property
    def interrupted(self) -> Interrupted | None:
        """What the graph waits for; complete once `status` is `interrupted`."""
        return self._translator.interrupted

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self._watch.usage

    def when_over(self, told: Callable[[], None]) -> None:
        """Have `told` called once when the graph has stopped."""
        if self._task is not None:
            self._task.add_done_callback(lambda task: told())

    async def ended(self) -> None:
        """Returns when the graph has stopped, however it did."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def interrupt(self, error: AgentError) -> None:
        """End the stream with `error` now, for a reader who is still there, and stop the graph."""
        if self._task is not None and not self._task.done():
            self._fail(error)
            self._stop()

    async def aclose(self) -> None:
        """Stop the graph, down to the model call under way. Does nothing to a run that has ended."""
        if self._task is None or self._task.done():
            return
        self._stop()
        # Bounded: a node may swallow its cancellation, and the caller must not pay for that.
        await asyncio.wait([self._task], timeout=FORCED_CANCEL_SECONDS)
        self._lifetime.end()

    # -- the graph's task ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        overdue = asyncio.get_running_loop().call_later(self._seconds + GRACE_SECONDS, self._cut, "seconds")
        try:
            await self._drive()
            await self._complete()
        except BaseException as error:
            # A node may raise anything, also what asyncio takes for the end of a task or of the whole process.
            if isinstance(error, asyncio.CancelledError) and self._is_cancelled():
                raise
            self._explain(error)
        finally:
            overdue.cancel()
            self._close()

    async def _drive(self) -> None:
        stream = stream_of(
            self._graph,
            self.request.invocation.messages,
            callbacks=[self._watch, *self._observers.handlers],
            steps=self._budgets.steps,
            context=self._context,
        )
        try:
            async with asyncio.timeout(self._seconds) as limit, aclosing(stream) as parts:
                async for ns, kind, data in parts:
                    # Tokens say themselves whether they are for the caller.
                    if ns and kind != "messages" and not self._watch.hears(ns):
                        continue
                    context: AbstractContextManager[None] = nullcontext()
                    if kind == "updates":
                        data, context = await looked_through(data)
                        if self._translator.ended:
                            return
                    with context:
                        told = self._translator.feed({"type": kind, "ns": ns, "data": data})
                        if kind == "messages" and _is_short(data[0]):
                            self._events.write(told)
                        else:
                            await self._events.write_gently(told, stopped=self._is_stopped)
                    if self._is_stopped():
                        return
        except BaseException:
            if not limit.expired() or self._is_cancelled():
                raise
            self._cut("seconds")

    def _is_cancelled(self) -> bool:
        """Whether this run's task was cancelled; a node may raise the same error by itself."""
        return self._task is not None and self._task.cancelling() > 0

    def _stop(self) -> None:
        self._watch.stop()
        if self._task is not None:
            self._task.cancel()

    # -- its end: the first one counts --------------------------------------------------------------------------

    async def _complete(self) -> None:
        # A graph that caught what the watch raised ends as if nothing had been.
        if self._watch.spent is not None:
            self._cut(self._watch.spent)
        elif self._watch.cut_off is not None:
            self._cut_off(self._watch.cut_off)
        elif self._translator.interrupted is not None:
            self._wait_for_decision(self._translator.interrupted)
        else:
            await self._end_gently("completed", self._translator.finish(self._watch.usage))

    def _explain(self, error: BaseException) -> None:
        if self._watch.spent is not None:
            self._cut(self._watch.spent)
        elif self._watch.cut_off is not None:
            self._cut_off(self._watch.cut_off)
        elif isinstance(error, NotRun) and self._watch.out_of_calls:
            # Of a graph that runs its tools itself, and does not tell its model what became of them.
            self._cut("tool_calls")
        elif isinstance(error, GraphRecursionError):
            self._cut("steps")
        else:
            self._fail(safe_error(error, model_error=self._watch.model_error), cause=error)

    def _cut(self, budget: str) -> None:
        self._end("incomplete", self._translator.cut(budget, self._watch.usage))
        self._watch.stop()

    def _is_stopped(self) -> bool:
        """Whether the terminal event was told. If the log is full it is told now, also amid the end of a run."""
        if self._events.full and not self._translator.ended:
            if self._ending:
                self._events.write(self._translator.cut("event_bytes", self._watch.usage))
            else:
                self._cut("event_bytes")
        return self._translator.ended

    def _cut_off(self, ending: EarlyEnd) -> None:
        self._end("incomplete", self._translator.cut_off(ending, self._watch.usage))

    def _wait_for_decision(self, interrupted: Interrupted) -> None:
        # An ending of its own, though callers get an error: nobody can answer until a stored run can be resumed.
        logger.error("run %s is interrupted: %d questions wait", self.head.id, len(interrupted.interrupts))
        error = ApprovalsNotServed("the graph waits for a person's decision; approvals are not served yet")
        self._fail(error, status="interrupted")

    def _fail(self, error: AgentError, *, cause: BaseException | None = None, status: Status = "failed") -> None:
        if self._ending:
            return
        self.failure = error
        if cause is not None:
            said = describe_error(cause)
            logger.error("run %s failed: %s: %s", self.head.id, error.code, said, extra=dev_traceback(cause))
        self._end(status, self._translator.fail(error, self._watch.usage))

    def _end(self, status: Status, ending: Iterator[Event]) -> None:
        if self._begins_to_end(status):
            self._events.write(ending)
            self._has_ended()

    async def _end_gently(self, status: Status, ending: Iterator[Event]) -> None:
        if self._begins_to_end(status):
            try:
                await self._events.write_gently(ending, stopped=self._is_stopped)
            finally:
                # An end that has begun is told whole, also where the run is cancelled meanwhile.
                self._events.write_until(ending, stopped=self._is_stopped)
                self._has_ended()

    def _begins_to_end(self, status: Status) -> bool:
        if self._ending:
            return False
        self._ending = True
        self._status = status
        self._lifetime.end()
        return True

    def _has_ended(self) -> None:
        if self._translator.status == "incomplete":
            # Only now is known that the answer's model was cut off.
            self._status = "incomplete"
        self._log.end()

    def _close(self) -> None:
        """The graph has stopped, or never took a step."""
        if self._closed:
            return
        self._closed = True
        self._watch.stop()
        self._lifetime.end()
        # Every other end was told before.
        self._end("cancelled", self._translator.fail(RunCancelled("the run was cancelled"), self._watch.usage))
        self._log.end()
        translator = self._translator
        self._observers.ended(
            Outcome(
                status=self._status,
                answer=translator.answer,
                output=translator.output,
                usage=self._watch.usage,
                error=self.failure,
            )
        )


def _is_short(message: Any) -> bool:
    """Whether a token is told in no time, as nearly all are."""
    return isinstance(message.content, str) and len(message.content) <= AT_ONCE

"""Run one graph once: a stream of events that always ends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Protocol

from langgraph.errors import GraphRecursionError
from langgraph.pregel import Pregel

from graph_agent.caller import Caller
from graph_agent.errors import AgentError, RunCancelled
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event, ResponseHead
from graph_agent.protocol.incoming import Invocation
from graph_agent.protocol.outgoing import Translator
from graph_agent.runs.context import fill_context
from graph_agent.runs.failures import describe, safe_error
from graph_agent.runs.relay import Relay
from graph_agent.runs.watch import ModelWatch
from graph_agent.settings import Budgets

logger = logging.getLogger(__name__)

STREAM_MODES = ["messages", "updates"]


class _BudgetSpent(Exception):
    def __init__(self, budget: str) -> None:
        self.budget = budget


class Recorder(Protocol):
    """What a run tells its trace; `graph_agent.tracing` has the real one."""

    handler: Any
    """A LangChain callback handler."""

    def ended(self, *, status: str, answer: str, output: list[dict[str, Any]], usage: dict[str, Any]) -> None:
        """The run is over: `status` is `completed`, `incomplete`, `failed` or `cancelled`."""


class Run:
    """One run of one graph for one request. `start()` once, then read `batches()`; `aclose()` in every case.

    The graph runs in a task of its own: a slow reader does not stretch its time limit, a quiet graph does not keep
    the reader from noticing that the caller left, and cancelling it reaches the model call under way.
    """

    def __init__(
        self,
        *,
        graph: Pregel[Any, Any, Any, Any],
        invocation: Invocation,
        caller: Caller,
        budgets: Budgets,
        dialect: Dialect,
        model_name: str,
        recorder: Recorder | None = None,
    ) -> None:
        self.head = ResponseHead(
            model=model_name, metadata=invocation.metadata, max_output_tokens=invocation.max_output_tokens
        )
        self._graph = graph
        self._invocation = invocation
        self._budgets = _tightened(budgets, invocation)
        self._recorder = recorder
        # Before the first byte, so that a wrong `custom_inputs` is a 400 and not a broken stream.
        self._context = fill_context(
            graph.context_schema,
            caller=caller,
            thread=invocation.thread,
            custom_inputs=invocation.custom_inputs,
        )
        known = [message.id for message in invocation.messages if message.id]
        self._translator = Translator(dialect=dialect, head=self.head, known=known, server=model_name)
        self._watch = ModelWatch(seconds=self._budgets.seconds)
        self._relay = Relay()
        self._task: asyncio.Task[None] | None = None
        self.failure: AgentError | None = None

    def start(self, ended: Callable[[], None] | None = None) -> None:
        """Begin; events wait in order until they are read. `ended` is called once when the graph has stopped."""
        self._task = asyncio.create_task(self._run())
        if ended is not None:
            self._task.add_done_callback(lambda task: ended())

    def batches(self, *, quiet_seconds: float) -> AsyncIterator[list[Event]]:
        """Events as they come, several at once when the reader was busy; an empty list on silence."""
        return self._relay.batches(quiet_seconds=quiet_seconds)

    async def reply(self) -> dict[str, Any]:
        """The whole response object.

        Raises:
            AgentError: the run failed; nothing of the stranger's exception is in it.
        """
        response: dict[str, Any] = {}
        async for batch in self.batches(quiet_seconds=self._budgets.seconds + 1):
            for event in batch:
                response = event.get("response", response)
        if self.failure is not None:
            raise self.failure
        return response

    def interrupt(self, error: AgentError) -> None:
        """Stop the graph and end the stream with `error`, for a reader who is still there."""
        if self._task is not None and not self._task.done():
            self.failure = error
            self._watch.stop()
            self._task.cancel()

    async def aclose(self) -> None:
        """Stop the graph, down to the model call under way. Does nothing to a run that has ended."""
        if self._task is None or self._task.done():
            return
        self._watch.stop()
        self._task.cancel()
        # Bounded: a node may swallow its cancellation, and the caller must not pay for that.
        await asyncio.wait([self._task], timeout=5.0)

    # -- the graph's task ---------------------------------------------------------------------------------------

    async def _run(self) -> None:
        status = "failed"
        try:
            await self._relay.put(self._translator.start())
            status, ending = await self._outcome()
            await self._relay.put(ending)
        except asyncio.CancelledError:
            status = "cancelled"
            if self.failure is None:
                raise
            self._relay.leave(self._translator.fail(self.failure, self._watch.usage))
        finally:
            self._watch.stop()
            self._relay.end()
            self._tell_recorder(status)

    async def _outcome(self) -> tuple[str, Iterator[Event]]:
        watch, translator = self._watch, self._translator
        try:
            await self._drive()
        except _BudgetSpent as spent:
            return "incomplete", translator.cut(spent.budget, watch.usage)
        except GraphRecursionError:
            return "incomplete", translator.cut("steps", watch.usage)
        except Exception as error:
            self.failure = safe_error(error, model_error=watch.model_error)
            logger.error("run %s failed: %s: %s", self.head.id, self.failure.code, describe(error))
            return "failed", translator.fail(self.failure, watch.usage)
        return "completed", translator.finish(watch.usage)

    async def _drive(self) -> None:
        try:
            async with asyncio.timeout(self._budgets.seconds) as limit:
                async with aclosing(self._parts()) as parts:
                    async for part in parts:
                        await self._relay.put(self._translator.feed(part))
                        self._check_budgets()
        except (TimeoutError, RunCancelled):
            if limit.expired():
                raise _BudgetSpent("seconds") from None
            raise

    def _parts(self) -> AsyncIterator[Any]:
        callbacks: list[Any] = [self._watch]
        if self._recorder is not None:
            callbacks.append(self._recorder.handler)
        return self._graph.astream(
            {"messages": list(self._invocation.messages)},
            {"callbacks": callbacks, "recursion_limit": self._budgets.steps},
            context=self._context,
            stream_mode=STREAM_MODES,
            subgraphs=True,
            version="v2",
        )

    def _check_budgets(self) -> None:
        if self._translator.tool_calls > self._budgets.tool_calls:
            raise _BudgetSpent("tool_calls")
        if self._watch.written > self._budgets.output_tokens:
            raise _BudgetSpent("output_tokens")

    def _tell_recorder(self, status: str) -> None:
        if self._recorder is not None:
            translator = self._translator
            self._recorder.ended(
                status=status,
                answer=translator.answer,
                output=translator.output,
                usage=self._watch.usage.fields(),
            )


def _tightened(budgets: Budgets, invocation: Invocation) -> Budgets:
    """A request may ask for less than the service allows, never for more."""
    return Budgets(
        steps=budgets.steps,
        seconds=budgets.seconds,
        tool_calls=min(budgets.tool_calls, invocation.max_tool_calls or budgets.tool_calls),
        output_tokens=min(budgets.output_tokens, invocation.max_output_tokens or budgets.output_tokens),
    )

"""The metrics of one app: what is counted, and how processes that share a port count together.

The numbers of a run are counted once, when it has ended. What is measured at a moment is read once a second.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.protocol.dialects import CHAT, name_of
from graph_agent.runs.observers import Outcome, RunInfo
from graph_agent.runs.registry import Runs
from graph_agent.stores.store import Store
from graph_agent.threads import NodeThreads

if TYPE_CHECKING:
    from graph_agent.serving.instruments import Instruments

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 1.0
"""How often the state of the process is read. How late that is, is the lag of the event loop."""

STORE_SECONDS = 15.0
"""How often the store is asked for the length of the queue."""

STORE_WAITS_SECONDS = 5.0
"""How long that may take. A store that takes longer counts as down."""


class ServiceMetrics:
    """The metrics of one app. Runs are counted after `make` was called."""

    def __init__(
        self,
        *,
        runs: Runs,
        nodes: NodeThreads,
        store: Callable[[], Coroutine[Any, Any, Store]],
        sockets: Sized = (),
        folder: Path | None = None,
    ) -> None:
        """`store` returns the open store, and `sockets` are the open WebSockets.

        With `folder`, this is one of several processes that count together there: see `workers`.
        """
        self._runs = runs
        self._nodes = nodes
        self._store = store
        self._sockets = sockets
        self._folder = folder
        self._instruments: Instruments | None = None
        self._sampling: list[asyncio.Task[None]] = []
        self._early: Counter[str] = Counter()
        """The errors before there were instruments, by code."""

    def make(self) -> None:
        """Make the instruments. It imports, so call it in a thread. A second call does nothing."""
        # Late: importing the client takes about 0.1 s, and the port is bound before that.
        with IMPORT_LOCK:
            from graph_agent.serving.instruments import Instruments

            if self._instruments is None:
                self._instruments = Instruments(self._folder)

    def begin(self) -> None:
        """Begin to read the state of the process, once a second. Call it after `make`."""
        early, self._early = self._early, Counter()
        for code, count in early.items():
            self.answered(code, count)
        self._sampling = [asyncio.create_task(self._sample()), asyncio.create_task(self._ask_store())]

    async def aclose(self) -> None:
        """Stop that."""
        sampling, self._sampling = self._sampling, []
        for one in sampling:
            one.cancel()
        await asyncio.gather(*sampling, return_exceptions=True)

    def observer(self) -> "RunMetrics | None":
        """The observer of a new run."""
        return None if self._instruments is None else RunMetrics(self._instruments)

    def answered(self, code: str, count: int = 1) -> None:
        """So many requests were answered with the error of this code."""
        if self._instruments is None:
            self._early[code] += count
        else:
            self._instruments.http_errors.labels(code).inc(count)

    def steered(self, refused: str | None) -> None:
        """Messages for a response in progress were accepted, or refused with the error of this code."""
        if self._instruments is not None:
            self._instruments.steers.labels("accepted" if refused is None else "refused", refused or "").inc()

    def page(self, accept: str) -> tuple[bytes, str]:
        """What a scrape gets, and its media type. `accept` is the header of the request. Call `sample` before.

        It may import, and with several processes it reads files, so call it in a thread.
        """
        self.make()
        assert self._instruments is not None
        return self._instruments.page(accept)

    def sample(self) -> None:
        """Read the state of this process now."""
        if self._instruments is None:
            return
        activity, background = self._runs.activity, self._runs.background
        gauges = self._instruments
        gauges.active.labels("foreground").set(activity.foreground)
        gauges.active.labels("background").set(activity.background)
        gauges.readers.set(activity.readers)
        gauges.websockets.set(len(self._sockets))
        gauges.waiting.set(activity.waiting)
        gauges.slots_taken.set(activity.taken)
        if activity.slots is not None:
            gauges.slots.set(activity.slots)
        gauges.threads_taken.set(self._nodes.held)
        gauges.threads.set(self._nodes.most)
        if background is not None and background.looked_at is not None:
            gauges.engine_idle.set(time.monotonic() - background.looked_at)

    async def _sample(self) -> None:
        while True:
            self.sample()
            due = time.monotonic() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            if self._instruments is not None:
                self._instruments.loop_lag.observe(max(time.monotonic() - due, 0.0))

    async def _ask_store(self) -> None:
        while True:
            if (instruments := self._instruments) is not None:
                try:
                    async with asyncio.timeout(STORE_WAITS_SECONDS):
                        counts = await (await self._store()).runs.counts()
                except (AgentError, TimeoutError):
                    instruments.store_up.set(0)
                except Exception as error:  # noqa: BLE001 - the next question may be answered
                    logger.warning("the store did not say how many runs wait: %s", describe_error(error))
                    instruments.store_up.set(0)
                else:
                    instruments.store_up.set(1)
                    for state in ("queued", "running", "parked"):
                        instruments.queue.labels(state).set(counts.get(state, 0))
            await asyncio.sleep(STORE_SECONDS)


class RunMetrics:
    """The observer that counts one run, when it has ended."""

    handler = None

    def __init__(self, instruments: "Instruments") -> None:
        self._to = instruments
        self._graph = self._dialect = ""
        self._began = 0.0
        self._streams = False
        self._steers = 0

    def started(self, run: RunInfo) -> None:
        """Note which graph runs, and since when."""
        invocation = run.request.invocation
        dialect = run.request.dialect
        self._graph, self._dialect = run.graph, "chat_completions" if dialect == CHAT else name_of(dialect)
        self._streams = invocation.mode == "stream" and not invocation.background
        self._began = time.monotonic()
        self._steers = 0 if run.request.turn is None else len(run.request.turn.steers)

    def gave_back(self, steers: int, code: str) -> None:
        """Count messages that the response could not take."""
        self._to.steers.labels("failed", code).inc(steers)

    def ended(self, outcome: Outcome) -> None:
        """Count the run. A run that goes on elsewhere is counted there."""
        to, graph = self._to, self._graph
        for seconds in outcome.model_seconds:
            to.model_seconds.labels(graph).observe(seconds)
        for seconds in outcome.search_seconds:
            to.search_seconds.labels(graph).observe(seconds)
        if outcome.goes_on:
            return
        to.runs.labels(graph, outcome.status, self._dialect).inc()
        if self._steers:
            to.steers.labels("taken", "").inc(self._steers)
        to.run_seconds.labels(graph).observe(time.monotonic() - self._began)
        if self._streams and outcome.first_text_at is not None:
            to.first_text_seconds.labels(graph).observe(max(outcome.first_text_at - self._began, 0.0))
        to.tokens.labels(graph, "input").inc(outcome.usage.input_tokens)
        to.tokens.labels(graph, "output").inc(outcome.usage.output_tokens)
        if outcome.error is not None:
            to.run_errors.labels(graph, outcome.error.code).inc()

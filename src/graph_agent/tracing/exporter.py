"""Writes finished runs to a trace store in a separate thread, so that a request never waits for the store."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice

from graph_agent.app_context import AppContext
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.processes.shutdown import TRACES_SECONDS, takes_longer
from graph_agent.tracing.destinations import id_at
from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.records import RunRecord
from graph_agent.tracing.trace_store import StoreError, StoreUnavailable, TraceStore

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.5
"""How long runs are collected into one batch. Storing a batch costs little more than storing a single trace."""

MOST_AT_ONCE = 64
"""Traces in one batch."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before the second try, and the longest pause between later ones, while a store does not answer."""

MOST_TRIES = 8
"""Tries of one batch, which take about two minutes. Then it is dropped, so that the next batch gets its turn."""

RATING_SECONDS = 6.0
"""How long a rating waits for a store that is being opened."""

CLOSING_SECONDS = 5.0
"""What a process may still take to close everything else when it has waited `OPENING_SECONDS`."""

OPENING_SECONDS = TRACES_SECONDS - CLOSING_SECONDS
"""How much longer `close` waits for a local file that is being opened for the first time."""

FIRST_TRACE_SECONDS = 6.0
"""The same for another store that has not taken its first trace. Its imports, also those of the first trace, take
seconds of CPU. A process that is stopped right after its first answer is among the few that wait for them."""

LIGHT = ("http://", "https://")
"""Prefixes of stores that need no MLflow before a trace is written. That of the workspace does not either."""

WARN_EVERY = 60.0
"""Seconds between two warnings, so that an unavailable store does not fill the log."""


class TraceExporter:
    """A bounded queue of finished runs, and the daemon thread that empties it.

    Only `flush` and `close` wait, and never longer than their timeout. No method raises.
    """

    def __init__(
        self,
        tracking_uri: str | None,
        experiment: str,
        queue_size: int = 1000,
        *,
        environ: Mapping[str, str] | None = None,
        default_uri: str | None = None,
        opener: "Callable[[], TraceStore] | None" = None,
        app: AppContext | None = None,
        name: str = "the trace store",
        warns_once: bool = False,
    ) -> None:
        """`name` is what warnings call the store. With `warns_once` there is one warning for each time in which it
        takes nothing, and a second one when it takes traces again."""
        self._app = app
        self._environ = dict(os.environ if environ is None else environ)
        self._uri = tracking_uri or self._environ.get("MLFLOW_TRACKING_URI") or default_uri
        self._experiment = experiment
        self._size = queue_size
        self._open = opener or self._open_store
        self._is_opening = False
        self._is_wanted = opener is not None or self._uri == "databricks" or (self._uri or "").startswith(LIGHT)
        self._version: Mapping[str, str] = {}
        self._location: str | None = None
        self._store: TraceStore | None = None
        self._waiting: deque[RunRecord] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._submitted = self._settled = self._lost = self._goal = 0
        self._nudged = self._closed = False
        self._warned_at = float("-inf")
        self._name = name
        self._warns_once = warns_once
        self._has_warned = False

    @property
    def lost(self) -> int:
        """Traces dropped since the start, because the queue was full, the store refused them, or time ran out."""
        return self._lost

    @property
    def location(self) -> str | None:
        """The tables of Unity Catalog that traces go to, as in their ids. `None` until the store is open, and for any
        other store."""
        return self._location

    def start(self, *, at_once: bool = False) -> None:
        """Open the store before the first trace. Without this call, `submit` opens it.

        A store that needs MLflow, four seconds of CPU time and 120 MB, is opened for the first trace or rating, or now
        with `at_once`.
        """
        with self._changed:
            self._is_wanted |= at_once
            self._ensure_thread()

    def submit(self, record: RunRecord) -> None:
        """Queue a run for export. Never waits. If the queue is full, the oldest trace is dropped and counted."""
        with self._changed:
            if self._closed:
                return
            self._ensure_thread()
            self._submitted += 1
            self._waiting.append(record)
            if len(self._waiting) > self._size:
                self._waiting.popleft()
                self._settle(1, lost=True)
                self._warn(f"the queue of {self._name} is full")
            # Not for every trace: waking the thread costs the event loop more than queueing the trace.
            if len(self._waiting) in (1, MOST_AT_ONCE):
                self._changed.notify_all()

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """Store feedback on a trace: see `TraceStore.rate`. Blocks: do not call it on the event loop.

        `trace_id` is the id at the end of the run, when the tables of Unity Catalog may not have been known.
        """
        with self._changed:
            self._is_wanted = True
            self._ensure_thread()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._store is not None or self._closed, RATING_SECONDS)
        store = self._store
        if store is None:
            raise StoreUnavailable("the trace store is not open")
        return store.rate(id_at(trace_id, self._location), rating, assessment)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until every run submitted so far is stored or dropped. False if the time ran out first."""
        with self._changed:
            goal = self._goal = self._submitted
            # Cuts short the pause before the next try, so that the flush does not wait for it.
            self._nudged = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= goal or self._closed, timeout_seconds)

    def close(self, timeout_seconds: float) -> None:
        """Deliver the queued runs within the time. The rest is dropped, counted and logged once.

        A local file that is being opened for the first time gets `OPENING_SECONDS` more, and another store that
        has not taken its first trace `FIRST_TRACE_SECONDS`.
        """
        if not self.flush(timeout_seconds):
            if self._is_opening and (self._uri or "").startswith("sqlite:"):
                # Otherwise the process would be ended before that, and the traces lost.
                takes_longer(TRACES_SECONDS, what="a new local file for traces")
                self.flush(OPENING_SECONDS)
            elif self._is_opening:
                self.flush(FIRST_TRACE_SECONDS)
        with self._changed:
            if self._closed:
                return
            self._closed = True
            undelivered = self._submitted - self._settled
            self._settle(undelivered, lost=True)
            self._waiting.clear()
        if undelivered:
            logger.warning("%d traces lost at shutdown: %s did not accept them in time", undelivered, self._name)

    # -- the thread -----------------------------------------------------------------------------------------------

    def _ensure_thread(self) -> None:
        if self._thread is None and not self._closed:
            # A daemon thread, because joining it when the interpreter exits could take minutes with a dead store.
            self._thread = threading.Thread(target=self._work, name="trace-exporter", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        # A new thread has an empty context, but a store in a workspace needs the app's client from it.
        with nullcontext() if self._app is None else self._app.entered():
            self._export()

    def _export(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_wanted or bool(self._waiting) or self._closed)
        store = self._opened()
        if store is None:
            return
        with self._changed:
            # Only `UnityStore` has a location.
            self._location = getattr(store, "location", None)
            self._store = store
            self._changed.notify_all()
        while batch := self._next_batch():
            self._deliver(store, batch)
        self._store = None
        store.close()

    def _opened(self) -> TraceStore | None:
        pauses = _pauses()
        self._is_opening = True
        while not self._closed:
            try:
                return self._open()
            except Exception as error:  # noqa: BLE001 - MLflow and database drivers raise anything; tracing must go on
                self._is_opening = False
                self._warn(f"{self._name} cannot be opened", error)
            self._pause(next(pauses))
        return None

    def _open_store(self) -> TraceStore:
        # Late: imports protobuf and perhaps MLflow, which only this thread needs.
        with IMPORT_LOCK:
            from graph_agent.tracing.stores import open_store
            from graph_agent.tracing.version import model_of, version_of

        self._version = version_of(self._environ) | model_of(self._environ)
        return open_store(self._uri, experiment=self._experiment, environ=self._environ)

    def _next_batch(self) -> list[RunRecord]:
        """Wait for a run, then shortly for more runs. Empty after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
            self._changed.wait_for(self._is_batch_ready, GATHER_SECONDS)
            batch = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
        return [record.of_version(self._version) for record in batch]

    def _is_batch_ready(self) -> bool:
        # A pending `flush` does not wait for more runs.
        return len(self._waiting) >= MOST_AT_ONCE or self._goal > self._settled or self._closed

    def _deliver(self, store: TraceStore, batch: Sequence[RunRecord]) -> None:
        for pause in islice(_pauses(), MOST_TRIES):
            try:
                self._write(store, batch)
            except StoreUnavailable as error:
                self._warn(f"{self._name} does not accept traces", error)
                self._pause(pause)
            except Exception as error:  # noqa: BLE001 - whatever a store raises, it costs this batch only
                self._refused(store, batch, error)
                return
            else:
                self._settled_now(len(batch))
                self._delivered()
                return
            # `close` has counted the batch as lost already.
            if self._closed:
                return
        self._settled_now(len(batch), lost=True)

    def _write(self, store: TraceStore, batch: Sequence[RunRecord]) -> None:
        try:
            store.write(batch)
        finally:
            # The store has answered, so its imports are over.
            self._is_opening = False

    def _refused(self, store: TraceStore, batch: Sequence[RunRecord], error: Exception) -> None:
        """Try each trace of a refused batch alone, so that one bad trace does not lose the others."""
        if len(batch) == 1:
            self._settled_now(1, lost=True)
            self._warn(f"{self._name} refused a trace", error)
            return
        for record in batch:
            self._deliver(store, [record])

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._nudged, seconds)
            self._nudged = False

    def _settled_now(self, count: int, *, lost: bool = False) -> None:
        with self._changed:
            # `close` already counted everything undelivered as lost.
            if not self._closed:
                self._settle(count, lost=lost)

    def _settle(self, count: int, *, lost: bool) -> None:
        self._settled += count
        if lost:
            self._lost += count
        self._changed.notify_all()

    def _delivered(self) -> None:
        """Say that a store which had a warning takes traces again."""
        if self._warns_once and self._has_warned:
            self._has_warned = False
            logger.warning("%s accepts traces again; %d traces lost so far", self._name, self._lost)

    def _warn(self, what: str, error: Exception | None = None) -> None:
        now = time.monotonic()
        if self._closed or now - self._warned_at < WARN_EVERY or (self._warns_once and self._has_warned):
            return
        self._warned_at, self._has_warned = now, True
        reason = "" if error is None else f" ({error if isinstance(error, StoreError) else type(error).__name__})"
        logger.warning("%s%s; %d traces lost so far", what, reason, self._lost)


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE)

"""Work that waits until it is needed: heavy imports, one thread at a time, and values made once for all threads."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

IMPORT_LOCK = threading.RLock()
"""Hold it around every late import that a thread beside the main one makes; never around a graph's own file, which may
wait for another thread.

MLflow's modules import each other in circles: two threads that begin at different ends get half-made modules, as
Python breaks the deadlock between their import locks by handing them out.
"""


def without_usage_collection() -> None:
    """Keep MLflow from sending usage data to its makers, unless the environment says otherwise.

    Before MLflow is imported, and only in processes that are graph-agent's own: it looks once.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


T = TypeVar("T")


class LazyValue(Generic[T]):
    """Calls `make` once. Threads that come meanwhile wait for that call, and share its failure.

    A failure is not kept: the next call tries again. So a dead host costs everybody who waits one attempt, not a queue
    of attempts.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Future[T] | None = None

    def __call__(self) -> T:
        with self._lock:
            first = self._made is None
            made = self._made = self._made or Future()
        if first:
            self._attempt(made)
        return made.result()

    @property
    def ready(self) -> bool:
        """Whether a call returns at once."""
        made = self._made
        return made is not None and made.done() and made.exception() is None

    def _attempt(self, made: "Future[T]") -> None:
        try:
            made.set_result(self._make())
        except BaseException as error:
            with self._lock:
                if self._made is made:
                    self._made = None
            made.set_exception(error)

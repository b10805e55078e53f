"""Work that is done on first use: heavy imports, in one thread at a time, and values that all threads share."""

import gc
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

IMPORT_LOCK = threading.RLock()
"""Hold it around every late import in a thread other than the main one. Never hold it while a graph's file is executed,
because that may wait for another thread.

MLflow's modules import each other in circles. When two threads start at different modules, Python breaks the deadlock
between their import locks by returning half-initialized modules.
"""


NEW_OBJECTS = 20_000
"""How many more objects than before start a collection of the youngest ones. Imports make a million objects that stay,
and with Python's default of 700 a quarter of their time goes into looking for garbage among them. A run makes a few
thousand that need no collector, and would be interrupted several times, also before its first token."""

OLDER, OLDEST = 25, 2
"""Each how many of these collections look at older objects too, and each how many of those at all objects. The chunks
of the tokens of a model's answer stay until it is complete, and are freed then without a collector. With Python's
default of 10, most of them are looked at twice, and all of them together while the streams wait."""


def collect_garbage_less_often() -> None:
    """Let Python look for garbage less often. Call it only in processes of graph-agent itself."""
    gc.set_threshold(max(NEW_OBJECTS, gc.get_threshold()[0]), OLDER, OLDEST)


def keep_mlflow_offline() -> None:
    """Keep MLflow from sending usage data to its developers, and from fetching prices of models from a website, unless
    the environment says otherwise. Prices then come from the catalog in MLflow's package.

    Call it before MLflow is imported, and only in processes of graph-agent itself.

    Source: mlflow 3.17.2, `environment_variables.py`.
    """
    # MLflow reads this variable once, when it is imported.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # An empty address: none is asked. MLflow asks it when it stores a span with a model and its tokens.
    os.environ.setdefault("MLFLOW_MODEL_CATALOG_URI", "")


T = TypeVar("T")


class LazyValue(Generic[T]):
    """Calls `make` once. Threads that need the value meanwhile wait for that call and share its failure.

    A failure is not kept: the next call tries again. So with a dead host, all waiting threads fail after one attempt,
    not after one attempt each.
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
        """Whether a call returns immediately."""
        made = self._made
        return made is not None and made.done() and made.exception() is None

    def _attempt(self, made: "Future[T]") -> None:
        try:
            made.set_result(self._make())
        except BaseException as error:  # noqa: BLE001 - every waiting thread gets it, else they would wait forever
            # Forgotten before it is published: a thread that calls after the failure must start a new attempt.
            with self._lock:
                if self._made is made:
                    self._made = None
            made.set_exception(error)

"""A value that is made when it is first needed, by one thread, for all."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
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

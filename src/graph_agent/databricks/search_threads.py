"""Threads for the index client, which is synchronous and has no time limit: few, and none is lost forever."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import cache, partial
from queue import SimpleQueue
from typing import Any, TypeVar

from graph_agent.errors import RetrievalFailed
from graph_agent.lazy import IMPORT_LOCK

T = TypeVar("T")

THREADS = 8
"""Threads of one search. The default executor has only six on two cores, and all other work waits there too."""

LONGEST_RETRY = 20.0
"""Longest wait in seconds before a retry, even if `Retry-After` asks for more."""


class SearchThreads:
    """Up to `most` daemon threads that run the calls of one search, each in its caller's context.

    A call keeps its thread after its caller has left, until the client gives up; `limit_waiting` makes it give up. When
    all threads are held this way, further calls fail immediately and do not wait.
    """

    def __init__(self, name: str, *, most: int = THREADS) -> None:
        self._name = name
        self._most = most
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._left = 0

    async def run(self, call: Callable[..., T], *arguments: Any) -> T:
        """The result of `call`. On cancellation a started call runs on in its thread, and a queued one is dropped.

        Raises:
            RetrievalFailed: all threads are held by calls whose callers have left.
        """
        if self._left >= self._most:
            raise RetrievalFailed(
                f"{self._left} earlier searches of {self._name} are still waiting for an index that does not answer; "
                "try again later, and check the state of the Vector Search endpoint"
            )
        future: Future[T] = Future()
        self._waiting.put((future, partial(copy_context().run, call, *arguments)))
        self._grow()
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            # False: the call has started, and a thread cannot be stopped.
            if not future.cancel():
                self._count_left(1)
                future.add_done_callback(lambda _: self._count_left(-1))
            raise

    def close(self) -> None:
        """End the threads, each after its current call. A later call starts new ones."""
        with self._lock:
            threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._waiting.put(None)

    def _count_left(self, change: int) -> None:
        with self._lock:
            self._left += change

    def _grow(self) -> None:
        with self._lock:
            if self._threads == self._most:
                return
            self._threads += 1
            name = f"search-{self._name}-{self._threads}"
        # Daemon threads, as the interpreter waits at exit for those of an executor.
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            given = self._waiting.get()
            if given is None:
                return
            future, call = given
            if future.set_running_or_notify_cancel():
                _settle(future, call)
            # An idle thread must not keep the last caller's context alive.
            del given, future, call


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - the caller gets it, as from the executors of the standard library
        future.set_exception(error)
    else:
        future.set_result(result)


def limit_waiting(seconds: float) -> None:
    """Give this thread's connection to the index a time limit per attempt. The client has none and accepts none.

    The client keeps one `requests` session per thread and makes up to four attempts. With the limit, a thread returns
    after at most four times `seconds` and three waits of up to 20 s.
    """
    with IMPORT_LOCK:
        from databricks.ai_search import utils  # type: ignore[import-untyped]

    # The client's cached function: the order of the arguments is part of the cache's key.
    session = utils._cached_get_request_session(
        total_retries=3,
        backoff_factor=1,
        backoff_jitter=0.2,
        process_id=os.getpid(),
        thread_id=threading.get_ident(),
    )
    if not isinstance(session.get_adapter("https://"), _limited()):
        for scheme in ("https://", "http://"):
            session.mount(scheme, _limited()(seconds))


@cache
def _limited() -> type[Any]:
    # Late, like the SDK that installs these packages.
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    class Retries(Retry):
        def get_retry_after(self, response: Any) -> float | None:
            asked = super().get_retry_after(response)
            return None if asked is None else min(asked, LONGEST_RETRY)

    class Limited(HTTPAdapter):
        def __init__(self, seconds: float) -> None:
            self._seconds = seconds
            # The same as the client's own adapter.
            retries = Retries(total=3, backoff_factor=1, backoff_jitter=0.2, status_forcelist=[429, 503, 504])
            super().__init__(max_retries=retries)

        def send(self, request: Any, *arguments: Any, **more: Any) -> Any:
            return super().send(request, *arguments, **{**more, "timeout": more.get("timeout") or self._seconds})

    return Limited

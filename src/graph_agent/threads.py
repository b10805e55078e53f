"""The threads of an event loop: some for synchronous nodes, others for the service itself.

LangGraph runs synchronous nodes in the loop's default executor. A thread cannot be stopped, so a node that never
returns keeps its thread. Therefore the service's own work never uses the threads of nodes.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import cache, partial
from typing import Any, TypeVar, TypeVarTuple

from graph_agent.errors import NoThreadFree, RunCancelled
from graph_agent.run_lifetime import RunLifetime, current_lifetime

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PER_RUN = 4
"""Threads for synchronous nodes, for each run that may be active. asyncio's default is six threads for all runs on a
machine with two cores."""

OWN = 4
"""Threads for work inside of this process, such as parsing a large body or importing a graph."""

CALLS = 32
"""Threads for blocking calls to other hosts, such as signing in to the workspace."""

LOOKUPS = 16
"""Threads for DNS lookups."""

TURN_SECONDS = 0.001
"""How long work in a thread holds the interpreter before it yields. A thread that never yields holds it for 5 ms
(Python's switch interval) each time the event loop needs it, and one small request needs it about ten times."""


class NodeThreads(ThreadPoolExecutor):
    """The default executor of a loop that runs graphs. It knows how many threads are in use by nodes, and how many of
    those nodes belong to a run that has ended."""

    def __init__(self, most: int) -> None:
        super().__init__(most, thread_name_prefix="node")
        self.most = most
        self._holding: dict[object, RunLifetime | None] = {}

    @property
    def held(self) -> int:
        """The number of threads in which a node is running."""
        return len(self._holding)

    @property
    def stuck(self) -> int:
        """The number of these threads whose run has ended. They become free when the node returns, if it ever does."""
        # A copy, because other threads change the dictionary.
        return sum(1 for one in list(self._holding.values()) if one is not None and one.over)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """As the base class. A node waits for a free thread, unless every thread is stuck.

        Raises:
            NoThreadFree: every thread is stuck in a node whose run has ended.
        """
        if self.held >= self.most and self.stuck >= self.most:
            raise NoThreadFree(self.shortage())
        return super().submit(self._held_for, current_lifetime(), fn, args, kwargs)

    def shortage(self) -> str:
        """A message that says why no synchronous node can start now."""
        return (
            f"no thread is free for synchronous nodes: {self.held} of {self.most} are in use, {self.stuck} of them by "
            "nodes whose run has ended; set a time limit on the calls that these nodes wait for, or restart"
        )

    def _held_for(
        self, lifetime: RunLifetime | None, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        # A key for each call: the same lifetime may hold several threads.
        mark = object()
        self._holding[mark] = lifetime
        try:
            return fn(*args, **kwargs)
        finally:
            del self._holding[mark]


class GraphLoop(asyncio.SelectorEventLoop):
    """An event loop for graphs. Nodes cannot occupy the threads of its DNS lookups. Its own tasks do not wake it up."""

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As the base class."""
        # LangGraph passes each token and each step on this way, from a task of this loop. The base class would write to
        # a socket each time and read from it again. A loop that runs a task is not waiting. Without a task it may be:
        # a handler of a signal runs in the thread of the loop too.
        if asyncio._get_running_loop() is self and asyncio.current_task(self) is not None:
            return self.call_soon(callback, *args, context=context)
        return super().call_soon_threadsafe(callback, *args, context=context)

    # asyncio would use the default executor, whose threads nodes may occupy.
    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """As the base class."""
        return await _in(_pool("lookup", LOOKUPS), socket.getaddrinfo, *args, **kwargs)

    async def getnameinfo(self, *args: Any, **kwargs: Any) -> Any:
        """As the base class."""
        return await _in(_pool("lookup", LOOKUPS), socket.getnameinfo, *args, **kwargs)


async def run_in_service_thread(work: Callable[..., T], *args: Any) -> T:
    """Run short work of this process in a thread, with the context of this task."""
    return await _in(_pool("own", OWN), work, *args)


async def run_giving_way(work: Callable[..., T]) -> T:
    """Run `work(pulse=…)` in a thread of the service, for work of this process that takes long.

    `pulse` is called between the steps of the work. It lets the event loop have its turn, and stops the work when this
    task has been cancelled.
    """
    left = threading.Event()
    try:
        return await run_in_service_thread(partial(work, pulse=_turns(left)))
    finally:
        # A thread cannot be cancelled. It ends at its next pulse, a few milliseconds later. A call that still waits
        # for a thread never begins.
        left.set()


def _turns(left: threading.Event) -> Callable[[], None]:
    ends = time.monotonic() + TURN_SECONDS

    def pulse() -> None:
        nonlocal ends
        if time.monotonic() >= ends:
            if left.is_set():
                raise RunCancelled("the caller left while the service read the request")
            # Yields the interpreter to another thread, and the processor to another process.
            time.sleep(0)
            ends = time.monotonic() + TURN_SECONDS

    return pulse


async def run_in_call_thread(call: Callable[..., T], *args: Any) -> T:
    """Make a blocking call to another host in a thread, with the context of this task."""
    return await _in(_pool("call", CALLS), call, *args)


async def _in(pool: ThreadPoolExecutor, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    here = partial(copy_context().run, work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(pool, here)


@cache
def _pool(name: str, most: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(most, thread_name_prefix=name)

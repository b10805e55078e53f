"""Threads beside an event loop: those of synchronous nodes, and others for what the service does itself.

LangGraph runs synchronous nodes in the loop's default executor alone, and a thread cannot be stopped: nodes that never
return keep theirs. So nothing of the service's own waits for one of those.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import Any, TypeVar

from graph_agent.errors import NoThreadFree
from graph_agent.run_lifetime import RunLifetime, current_lifetime

T = TypeVar("T")

PER_RUN = 4
"""Threads of synchronous nodes for each run that may be under way: asyncio's own default is six on two cores, for all
runs."""

OWN = 4
"""Threads for work of this process alone, such as parsing a large body or importing a graph."""

CALLS = 32
"""Threads for blocking calls to other hosts, such as signing in to the workspace."""

LOOKUPS = 16
"""Threads that ask for the addresses of hosts."""


class NodeThreads(ThreadPoolExecutor):
    """The default executor of a loop that runs graphs. It knows how many threads nodes hold, and for how many of them
    the run has ended."""

    def __init__(self, most: int) -> None:
        super().__init__(most, thread_name_prefix="node")
        self.most = most
        self._holding: dict[object, RunLifetime | None] = {}

    @property
    def held(self) -> int:
        """Threads in which a node is at work."""
        return len(self._holding)

    @property
    def stuck(self) -> int:
        """Those of them whose run has ended: they come back when the node returns, if it ever does."""
        return sum(1 for one in list(self._holding.values()) if one is not None and one.over)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """As the base class; a node waits for a thread unless none can come free but by a node that is stuck.

        Raises:
            NoThreadFree: all are stuck.
        """
        if self.held >= self.most and self.stuck >= self.most:
            raise NoThreadFree(self.shortage())
        return super().submit(self._held_for, current_lifetime(), fn, args, kwargs)

    def shortage(self) -> str:
        """Why no synchronous node can start now."""
        return (
            f"no thread is free for synchronous nodes: {self.held} of {self.most} are held, {self.stuck} of them by "
            "nodes whose run has ended; give what those wait for a time limit, or restart"
        )

    def _held_for(
        self, lifetime: RunLifetime | None, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        mark = object()
        self._holding[mark] = lifetime
        try:
            return fn(*args, **kwargs)
        finally:
            del self._holding[mark]


class GraphLoop(asyncio.SelectorEventLoop):
    """An event loop for graphs: addresses of hosts are asked for in threads that no node can hold."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        """As the base class."""
        return await _in(_pool("lookup", LOOKUPS), socket.getaddrinfo, *args, **kwargs)

    async def getnameinfo(self, *args: Any, **kwargs: Any) -> Any:
        """As the base class."""
        return await _in(_pool("lookup", LOOKUPS), socket.getnameinfo, *args, **kwargs)


async def run_in_service_thread(work: Callable[..., T], *args: Any) -> T:
    """Do short work of this process in a thread, with this task's context."""
    return await _in(_pool("own", OWN), work, *args)


async def run_in_call_thread(call: Callable[..., T], *args: Any) -> T:
    """Make a blocking call to another host in a thread, with this task's context."""
    return await _in(_pool("call", CALLS), call, *args)


async def _in(pool: ThreadPoolExecutor, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    here = partial(copy_context().run, work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(pool, here)


@cache
def _pool(name: str, most: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(most, thread_name_prefix=name)

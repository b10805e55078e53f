"""Runs asynchronous code for synchronous callers, on one event loop for the process, in a daemon thread.

It works from plain threads and inside of a running loop (a notebook), without nested loops. All calls share one loop,
because pooled connections belong to the loop that opened them.
"""

import asyncio
import contextvars
import logging
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from functools import cache
from typing import Any, TypeVar

from graph_agent.foreign_errors import describe_error
from graph_agent.threads import GraphLoop, NodeThreads

logger = logging.getLogger(__name__)

T = TypeVar("T")

WAITING_MOST = 64
"""Values that may wait for a slow consumer before the producer must wait."""

FULL_SECONDS = 0.01

NODE_THREADS = 128
"""Threads for synchronous nodes, as many as in a service with 32 runs."""


class _End:
    """The end of the stream, with the exception that ended it, if there is one."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@cache
def shared_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process for synchronous callers. It starts on first use."""
    loop = GraphLoop()
    loop.set_default_executor(NodeThreads(NODE_THREADS))
    threading.Thread(target=_run, args=(loop,), name="graph-agent-loop", daemon=True).start()
    return loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            return loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # From the task of a graph, since Ctrl-C reaches only the main thread. These two stop a loop. It runs on
            # here, because without it every later call would wait forever.
            logger.error("a graph tried to end the process: %s", describe_error(error))


def call(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on the shared loop and wait for its result."""
    return asyncio.run_coroutine_threadsafe(make(), shared_loop()).result()


def iterate(make: Callable[[], AsyncGenerator[T, None]], *, context: contextvars.Context | None = None) -> Iterator[T]:
    """Yield the values of an asynchronous generator. Stopping early closes the generator and waits until it is closed.

    The generator runs in `context`. Without it, it runs with the caller's context variables, so that an active MLflow
    span is active in it too.
    """
    out: queue.Queue[T | _End] = queue.Queue(WAITING_MOST)
    context = contextvars.copy_context() if context is None else context
    loop = shared_loop()
    pump = asyncio.run_coroutine_threadsafe(_start(make, out, context), loop).result()
    try:
        while not isinstance(value := out.get(), _End):
            yield value
        if value.error is not None:
            raise value.error
    finally:
        loop.call_soon_threadsafe(pump.cancel)
        asyncio.run_coroutine_threadsafe(_settled(pump), loop).result()


async def _start(
    make: Callable[[], AsyncGenerator[T, None]], out: "queue.Queue[T | _End]", context: contextvars.Context
) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(_pump(make, out), context=context)


async def _settled(task: "asyncio.Task[None]") -> None:
    await asyncio.wait([task], timeout=5.0)


async def _pump(make: Callable[[], AsyncGenerator[T, None]], out: "queue.Queue[T | _End]") -> None:
    error: BaseException | None = None
    try:
        async with aclosing(make()) as values:
            async for value in values:
                await _hand_over(out, value)
    # The consumer raises it in its own thread.
    except BaseException as raised:
        error = raised
        if isinstance(raised, asyncio.CancelledError):
            raise
    finally:
        # A cancelled pump has no consumer any more, and must not wait for room in a full queue.
        if not out.full():
            out.put_nowait(_End(error))
        elif not isinstance(error, asyncio.CancelledError):
            await _hand_over(out, _End(error))


async def _hand_over(out: "queue.Queue[Any]", value: Any) -> None:
    # Not a blocking `put`, which would stop every other run on this loop.
    while out.full():  # noqa: ASYNC110 - the queue's other end is a thread, which sets no asyncio event
        await asyncio.sleep(FULL_SECONDS)
    out.put_nowait(value)

"""Asynchronous streams for synchronous callers: one event loop, in a daemon thread, per process.

Works from plain threads and from inside a running loop (a notebook), with no nested loops. One loop for all calls
keeps pooled connections usable: they belong to the loop that opened them.
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
"""Values that may wait for a slow consumer before the producer is held back."""

FULL_SECONDS = 0.01

NODE_THREADS = 128
"""For synchronous nodes, as many as a service with 32 runs has."""


class _End:
    """What follows the last value: nothing, or the exception that ended the stream."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@cache
def shared_loop() -> asyncio.AbstractEventLoop:
    """The process's loop for synchronous callers, started on first use."""
    loop = GraphLoop()
    loop.set_default_executor(NodeThreads(NODE_THREADS))
    threading.Thread(target=_run, args=(loop,), name="graph-agent-loop", daemon=True).start()
    return loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            return loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # Of a graph's task, as Ctrl-C is the main thread's. Without the loop every later call would wait for ever.
            logger.error("a graph tried to end the process: %s", describe_error(error))


def call(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run one coroutine on the shared loop and wait for it."""
    return asyncio.run_coroutine_threadsafe(make(), shared_loop()).result()


def iterate(make: Callable[[], AsyncGenerator[T, None]], *, context: contextvars.Context | None = None) -> Iterator[T]:
    """The values of an asynchronous generator, one by one. Stopping early closes it, and waits until it is closed.

    The generator runs with the caller's context variables, so an active MLflow span is still active in it; or in
    `context`.
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
    except BaseException as raised:
        error = raised
        if isinstance(raised, asyncio.CancelledError):
            raise
    finally:
        # A consumer that has left reads nothing any more; one that waits has room in the queue.
        if not out.full():
            out.put_nowait(_End(error))
        elif not isinstance(error, asyncio.CancelledError):
            await _hand_over(out, _End(error))


async def _hand_over(out: "queue.Queue[Any]", value: Any) -> None:
    # Never a blocking `put`: it would stop every other run on this loop.
    while out.full():  # noqa: ASYNC110 - the queue's other end is a thread, which sets no asyncio event
        await asyncio.sleep(FULL_SECONDS)
    out.put_nowait(value)

"""Concurrent work in one node. None of it continues after the node has ended."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")

LEAVE_SECONDS = 5.0
"""Time for the others to end after one has failed. The caller must not wait for one that ignores its cancellation."""


async def gather_or_cancel(works: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results in the order of `works`.

    The first exception is raised after the others were cancelled and have ended. `asyncio.gather` lets them run on. A
    `TaskGroup` would raise an exception group, and wait without a limit.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        running = [task for task in tasks if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=LEAVE_SECONDS)

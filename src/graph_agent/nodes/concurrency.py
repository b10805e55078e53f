"""Work of one node done at once, none of which goes on after the node has ended."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")

LEAVE_SECONDS = 5.0
"""For the others to end once one has failed: the caller is not to wait for one that heeds no cancelling."""


async def gather_or_cancel(works: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Their results, in their order.

    The first to raise ends it with its exception; the others are cancelled, which `asyncio.gather` does not do, and
    have ended by then.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=LEAVE_SECONDS)

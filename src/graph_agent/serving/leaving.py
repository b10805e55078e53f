"""Stops what is done for a client that leaves before it is answered."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from graph_agent.errors import RunCancelled
from graph_agent.serving.sse import disconnected

T = TypeVar("T")


async def unless_left(work: Coroutine[Any, Any, T], receive: Receive, *, message: str) -> T:
    """Await the work and return its result. Cancels it when the client leaves.

    Raises:
        RunCancelled: the client has left. It says `message`.
    """
    working = asyncio.ensure_future(work)
    leaver = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait([working, leaver], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise RunCancelled(message)
        return working.result()
    finally:
        working.cancel()
        leaver.cancel()

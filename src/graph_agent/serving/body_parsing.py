"""Parses large request bodies in a thread, so that the event loop stays free, and stops when the client leaves."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from starlette.types import Receive

from graph_agent.errors import RunCancelled
from graph_agent.serving.sse import disconnected
from graph_agent.threads import run_giving_way

T = TypeVar("T")

LEFT = "the caller left while the service read the request"


async def parse_body(parse: Callable[..., T], receive: Receive) -> T:
    """Run `parse(pulse=…)` in a thread and return its result. Stops it when the client leaves.

    Raises:
        RunCancelled: the client has left.
    """
    parsing = asyncio.ensure_future(run_giving_way(parse))
    leaver = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait([parsing, leaver], return_when=asyncio.FIRST_COMPLETED)
        if not parsing.done():
            raise RunCancelled(LEFT)
        return parsing.result()
    finally:
        parsing.cancel()
        leaver.cancel()

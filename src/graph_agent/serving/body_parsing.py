"""Parses large request bodies in a thread, so that the event loop stays free, and stops when the client leaves."""

from collections.abc import Callable
from typing import TypeVar

from starlette.types import Receive

from graph_agent.serving.leaving import unless_left
from graph_agent.threads import run_giving_way

T = TypeVar("T")

LEFT = "the caller left while the service read the request"


async def parse_body(parse: Callable[..., T], receive: Receive) -> T:
    """Run `parse(pulse=…)` in a thread and return its result. Stops it when the client leaves.

    Raises:
        RunCancelled: the client has left.
    """
    return await unless_left(run_giving_way(parse), receive, message=LEFT)

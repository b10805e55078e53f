"""Parses large request bodies in a thread, so that the event loop stays free, and stops when the client leaves."""

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from starlette.types import Receive

from graph_agent.errors import RunCancelled
from graph_agent.protocol.json_decoding import Pulse
from graph_agent.serving.sse import disconnected
from graph_agent.threads import run_in_service_thread

T = TypeVar("T")

LEFT = "the caller left while the service read the request"

TURN_SECONDS = 0.001
"""How long parsing holds the interpreter before it yields. A thread that never yields holds it for 5 ms (Python's
switch interval) each time the event loop needs it, and one small request needs it about ten times."""


async def parse_body(parse: Callable[..., T], receive: Receive) -> T:
    """Run `parse(pulse=…)` in a thread and return its result. Stops it when the client leaves.

    Raises:
        RunCancelled: the client has left.
    """
    left = threading.Event()
    parsing = asyncio.ensure_future(run_in_service_thread(partial(parse, pulse=_turns(left))))
    leaver = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait([parsing, leaver], return_when=asyncio.FIRST_COMPLETED)
        if not parsing.done():
            raise RunCancelled(LEFT)
        return parsing.result()
    finally:
        # A thread cannot be cancelled. It ends at its next pulse, a few milliseconds later. A call that still waits
        # for a thread never begins.
        left.set()
        parsing.cancel()
        leaver.cancel()


def _turns(left: threading.Event) -> Pulse:
    ends = time.monotonic() + TURN_SECONDS

    def pulse() -> None:
        nonlocal ends
        if time.monotonic() >= ends:
            if left.is_set():
                raise RunCancelled(LEFT)
            # Yields the interpreter to another thread, and the processor to another process.
            time.sleep(0)
            ends = time.monotonic() + TURN_SECONDS

    return pulse

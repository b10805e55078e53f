"""Parsing of request bodies beside the event loop: others have their turn meanwhile, and nobody's body is parsed on."""

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

LEFT = "the caller left while the request was read"

TURN_SECONDS = 0.001
"""How long parsing keeps the interpreter to itself; a thread that does not give it up keeps it for 5 ms each time the
event loop wants it, and one small request wants it ten times."""


async def parse_body(parse: Callable[..., T], receive: Receive) -> T:
    """What `parse(pulse=…)` makes of a body that was read, unless its sender leaves meanwhile: then it is stopped.

    Raises:
        RunCancelled: they have left.
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
        # The thread ends at its next step, of which there is one every few milliseconds; one that waits never begins.
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
            # Gives up the interpreter, and the processor to whoever waits for it.
            time.sleep(0)
            ends = time.monotonic() + TURN_SECONDS

    return pulse

"""Measures how long an event loop was blocked, apart from the time in which the machine was busy."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

TICK = 0.01
SCHEDULED = Path("/proc/thread-self/schedstat")


class Stalls:
    """The longest block so far, in seconds."""

    def __init__(self) -> None:
        self.worst = 0.0


@asynccontextmanager
async def stalls() -> AsyncIterator[Stalls]:
    """Measure the running loop until the block ends.

    A late loop only counts as blocked for the time in which another thread ticked on time, minus the time for which
    the loop waited for a processor. If the machine or a holder of the interpreter lock delayed both, the loop did not
    block.
    """
    found, ended = Stalls(), threading.Event()
    beside: list[float] = []
    thread = threading.Thread(target=_tick, args=(beside, ended), daemon=True)
    thread.start()
    watch = asyncio.create_task(_watch(found, beside))
    try:
        # Both must tick before the measurement starts.
        await asyncio.sleep(3 * TICK)
        yield found
        await asyncio.sleep(3 * TICK)
    finally:
        watch.cancel()
        ended.set()
        thread.join()


def _tick(beside: list[float], ended: threading.Event) -> None:
    while not ended.wait(TICK):
        beside.append(time.monotonic())


async def _watch(found: Stalls, beside: list[float]) -> None:
    last, queued = time.monotonic(), _queued()
    while True:
        await asyncio.sleep(TICK)
        now, queued_now = time.monotonic(), _queued()
        if now - last > 3 * TICK:
            found.worst = max(found.worst, _alone(last, now, beside) - (queued_now - queued))
        last, queued = now, queued_now
        # Older ticks are never needed again.
        del beside[:-500]


def _queued() -> float:
    """Return the seconds for which this thread was ready and waited for a processor (`proc(5)`); 0 if unknown."""
    try:
        return int(SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _alone(begin: float, end: float, beside: list[float]) -> float:
    """Return the seconds of the window in which the other thread ticked on time."""
    ticks = [begin, *(tick for tick in beside if begin < tick < end), end]
    gaps = [after - before for before, after in itertools.pairwise(ticks)]
    return sum(gap for gap in gaps[1:-1] if gap < 3 * TICK)

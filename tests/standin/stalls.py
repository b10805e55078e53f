"""How long an event loop was blocked, told apart from a machine that was busy."""

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
    """The worst so far, seconds."""

    def __init__(self) -> None:
        self.worst = 0.0


@asynccontextmanager
async def stalls() -> AsyncIterator[Stalls]:
    """Measure the running loop until the block ends.

    A loop that is late counts as blocked only for the time in which a thread beside it kept its own ticks, less the
    time it waited for a processor: when the machine, or a holder of the interpreter's lock, held up everybody, the loop
    is not to blame.
    """
    found, ended = Stalls(), threading.Event()
    beside: list[float] = []
    thread = threading.Thread(target=_tick, args=(beside, ended), daemon=True)
    thread.start()
    watch = asyncio.create_task(_watch(found, beside))
    try:
        # Until both tick.
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
        # What lies behind is never asked for again.
        del beside[:-500]


def _queued() -> float:
    """Seconds this thread could run and waited for a processor (Linux, `proc(5)`); 0 where nobody counts them."""
    try:
        return int(SCHEDULED.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _alone(begin: float, end: float, beside: list[float]) -> float:
    """Seconds of the window in which the other thread ticked on time."""
    ticks = [begin, *(tick for tick in beside if begin < tick < end), end]
    gaps = [after - before for before, after in itertools.pairwise(ticks)]
    return sum(gap for gap in gaps[1:-1] if gap < 3 * TICK)

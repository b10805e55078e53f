"""Measures for how long an event loop was blocked by what it ran, and not by a busy machine."""

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

TICK = 0.01


class Stalls:
    """The longest block so far, in seconds."""

    def __init__(self) -> None:
        self.worst = 0.0


@asynccontextmanager
async def stalls() -> AsyncIterator[Stalls]:
    """Measure the running loop until the block ends.

    A late loop counts as blocked for the CPU time that its thread used, and for the time in which it stood at one
    instruction without using any, as in a call that waits. Time in which it waited for a processor or for Python's
    interpreter lock does not count: other threads of a test hold the lock as well, such as those of its servers.
    """
    found, ended = Stalls(), threading.Event()
    looks: list[_Look] = []
    watched = (threading.get_ident(), threading.get_native_id())
    thread = threading.Thread(target=_tick, args=(*watched, looks, ended), daemon=True)
    thread.start()
    watch = asyncio.create_task(_watch(found, looks))
    try:
        # Both must tick before the measurement starts.
        await asyncio.sleep(3 * TICK)
        yield found
        await asyncio.sleep(3 * TICK)
    finally:
        watch.cancel()
        ended.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Look:
    """What another thread saw of the loop's thread.

    The time; how long it had used a processor, and waited for one, by then; and the instruction at which it stood.
    """

    at: float
    used: float
    queued: float
    instruction: tuple[int, int]


def _tick(watched: int, number: int, looks: list[_Look], ended: threading.Event) -> None:
    clock, scheduled = time.pthread_getcpuclockid(watched), Path(f"/proc/self/task/{number}/schedstat")
    while not ended.wait(TICK):
        frame = sys._current_frames()[watched]
        instruction = (id(frame), frame.f_lasti)
        looks.append(_Look(time.monotonic(), time.clock_gettime(clock), _queued(scheduled), instruction))


def _queued(scheduled: Path) -> float:
    """Return the seconds for which a thread was ready and waited for a processor (`proc(5)`); 0 if unknown."""
    try:
        return int(scheduled.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


async def _watch(found: Stalls, looks: list[_Look]) -> None:
    last, used = time.monotonic(), time.thread_time()
    while True:
        await asyncio.sleep(TICK)
        now, used_now = time.monotonic(), time.thread_time()
        if now - last > 3 * TICK:
            found.worst = max(found.worst, used_now - used + _waited(last, now, looks))
        last, used = now, used_now
        # Older looks are never needed again.
        del looks[:-500]


def _waited(begin: float, end: float, looks: list[_Look]) -> float:
    """Return the seconds in which the loop's thread stood at one instruction, without using or wanting a processor.

    Where the other thread was late too, the machine or a holder of the interpreter lock delayed both.
    """
    within = [look for look in looks if begin < look.at < end]
    return sum(
        max(0.0, (after.at - before.at) - (after.used - before.used) - (after.queued - before.queued))
        for before, after in itertools.pairwise(within)
        if before.instruction == after.instruction and after.at - before.at < 3 * TICK
    )

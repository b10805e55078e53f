"""Measures for how long an event loop was blocked by what it ran, and not by a busy machine."""

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

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
    thread = threading.Thread(target=_tick, args=(threading.get_ident(), looks, ended), daemon=True)
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
    """What another thread saw of the loop's thread: the time, the CPU time used so far, and the instruction."""

    at: float
    used: float
    instruction: tuple[int, int]


def _tick(watched: int, looks: list[_Look], ended: threading.Event) -> None:
    clock = time.pthread_getcpuclockid(watched)
    while not ended.wait(TICK):
        frame = sys._current_frames()[watched]
        looks.append(_Look(time.monotonic(), time.clock_gettime(clock), (id(frame), frame.f_lasti)))


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
    """Return the seconds in which the loop's thread stood at one instruction, without using its processor.

    Where the other thread was late too, the machine or a holder of the interpreter lock delayed both.
    """
    within = [look for look in looks if begin < look.at < end]
    return sum(
        (after.at - before.at) - (after.used - before.used)
        for before, after in itertools.pairwise(within)
        if before.instruction == after.instruction and after.at - before.at < 3 * TICK
    )

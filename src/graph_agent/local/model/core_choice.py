"""Chooses the cores for the threads of llama.cpp: both of a machine with two, or one while other programs are busy."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

BUSY = 0.6
"""Cores that other programs use, above which the threads of the model share one core."""

QUIET = 0.25
"""Cores that other programs use, below which the threads spread again."""

SECONDS = 0.3
"""Time between two looks. The scheduler's own figures are counted in hundredths of a second."""

STALE_SECONDS = 2.0
"""Age of a look that says nothing about the present, as after a pause between two requests."""

MEMORY = 0.6
"""Share of the new value in the running mean, so that a short task of another program moves nothing."""

TASKS = Path("/proc/self/task")
_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """CPU seconds that were spent until a moment."""

    at: float
    """The moment, in seconds of a monotonic clock."""

    cores: Mapping[int, float]
    """CPU seconds of each core, by any program."""

    own: float
    """CPU seconds of this process."""


class CoreChoice:
    """Moves threads between all cores and one core, by what other programs use.

    llama.cpp divides each operation among its threads, and they wait for each other hundreds of times per token. If
    another program takes one of two cores for a moment, both threads wait. On one core only one of them runs at a time,
    and nothing waits for a thread that has no core.
    """

    def __init__(
        self,
        measured: Callable[[], Load],
        move: Callable[[frozenset[int]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measured = measured
        self._move = move
        self._clock = clock
        self._before = measured()
        self._all = frozenset(self._before.cores)
        self._used: frozenset[int] = self._all
        self._others = 0.0

    def look(self) -> None:
        """Measure if the last time is long enough ago, and move the threads if it pays. Costs microseconds."""
        if self._clock() - self._before.at < SECONDS:
            return
        before, self._before = self._before, self._measured()
        if self._before.at - before.at < STALE_SECONDS:
            self._decide(before, self._before)

    def _decide(self, before: Load, after: Load) -> None:
        seconds = after.at - before.at
        by_core = {core: (after.cores[core] - before.cores[core]) / seconds for core in self._all}
        others = max(0.0, sum(by_core.values()) - (after.own - before.own) / seconds)
        self._others += MEMORY * (others - self._others)
        if self._used == self._all and self._others > BUSY:
            self._use(frozenset([min(sorted(by_core), key=by_core.__getitem__)]))
        elif self._used != self._all and self._others < QUIET:
            self._use(self._all)

    def _use(self, cores: frozenset[int]) -> None:
        self._used = cores
        self._move(cores)


def core_choice(threads: Iterable[int]) -> CoreChoice | None:
    """A choice for threads of this process, by their ids in the system.

    None where the system cannot say or move, and on a machine with other than two cores: there, one core is too few.
    """
    if not (TASKS.is_dir() and _STAT.is_file() and hasattr(os, "sched_setaffinity")):
        return None
    allowed = os.sched_getaffinity(0)
    if len(allowed) != 2:
        return None
    held = frozenset(threads)
    return CoreChoice(lambda: _load(allowed), lambda cores: _move(held, cores))


def threads_now() -> frozenset[int]:
    """The ids of the threads of this process in the system; none where it does not list them."""
    return frozenset(int(task.name) for task in TASKS.iterdir()) if TASKS.is_dir() else frozenset()


def _move(threads: frozenset[int], cores: frozenset[int]) -> None:
    for thread in threads:
        try:
            os.sched_setaffinity(thread, cores)
        except OSError:
            # The thread has ended, or a sandbox forbids it. Slower is not broken.
            continue


def _load(cores: Iterable[int]) -> Load:
    ticks = os.sysconf("SC_CLK_TCK")
    wanted = {f"cpu{core}": core for core in cores}
    found = dict.fromkeys(wanted.values(), 0.0)
    for line in _STAT.read_text().splitlines():
        name, *numbers = line.split()
        if name in wanted:
            # user, nice, system, idle, iowait, irq, softirq
            user, nice, system, _, _, irq, softirq = map(int, numbers[:7])
            found[wanted[name]] = (user + nice + system + irq + softirq) / ticks
    return Load(at=time.monotonic(), cores=found, own=time.process_time())

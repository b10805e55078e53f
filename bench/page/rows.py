"""Formats the figures of the page as text, and compares them with the goals."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from bench.page.trace import Work

FRAME_GOAL = 16.0
TASK_GOAL = 200.0
HEAP_GOAL = 300.0

HEADS = ("", "KB", "frames", "p50 ms", "p95 ms", "worst ms", "task ms", "task wall", "heap MB", "elements", "s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One document, shown in one way."""

    name: str
    streamed: bool
    length: int
    work: Work | None = None
    heap: float = 0.0
    elements: int = 0
    errors: tuple[str, ...] = ()
    """What the page wrote to its console, and exceptions that nobody caught."""

    def __str__(self) -> str:
        if self.work is None:
            return f"{_title(self)}: {'; '.join(self.errors)[:200]}"
        return (
            f"{_title(self)}: p95 {self.work.p95:.1f} ms, longest task {self.work.longest_task:.0f} ms, "
            f"heap {self.heap:.0f} MB, {self.elements:,} elements"
        )

    def missed(self) -> list[str]:
        """The goals that it does not reach."""
        missed = []
        if self.work is not None and self.streamed and self.work.p95 > FRAME_GOAL:
            missed.append(f"p95 of a frame {self.work.p95:.1f} ms")
        if self.work is not None and self.work.longest_task > TASK_GOAL:
            missed.append(f"longest task {self.work.longest_task:.0f} ms")
        if self.heap > HEAP_GOAL:
            missed.append(f"heap {self.heap:.0f} MB")
        return missed + [error[:200] for error in self.errors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How the page opens. Times are milliseconds by the clock, from the request for it."""

    name: str
    paint: float | None
    """Until something is painted."""

    ready: float
    """Until a message can be written."""

    weight: float
    """What was loaded before that, without the answers of the API, in KB as they were sent."""

    def __str__(self) -> str:
        paint = "-" if self.paint is None else f"{self.paint:.0f}"
        return f"{self.name}: first paint {paint} ms, ready {self.ready:.0f} ms, {self.weight:.0f} KB"


def report(measured: Sequence[Row | Opening], *, factor: float, tokens: int, load: float) -> str:
    """Return the table and the goals. `load` is the machine's load average before the benchmark started."""
    rows = [one for one in measured if isinstance(one, Row)]
    openings = [str(one) for one in measured if isinstance(one, Opening)]
    head = (
        f"Documents stream at 200 tokens/s x {factor:g}, up to {tokens:,} tokens of 4 characters, or come at once.\n"
        f"Milliseconds of the main thread on the CPU, from frame to frame; `task wall` is by the clock. "
        f"{os.cpu_count()} cores; load {load:.1f} before."
    )
    lines = [HEADS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    table = [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    goals = (
        f"Goals: p95 of a frame <= {FRAME_GOAL:g} ms while streaming, longest task <= {TASK_GOAL:g} ms, "
        f"heap <= {HEAP_GOAL:g} MB"
    )
    missed = [f"  missed by {_title(row)}: {', '.join(row.missed())}" for row in rows if row.missed()]
    return "\n".join([head, "", *table, "", *openings, f"{goals}: {'reached' if not missed else ''}", *missed])


def _title(row: Row) -> str:
    return row.name if row.streamed else f"{row.name}, at once"


def _cells(row: Row) -> tuple[str, ...]:
    work = row.work
    if work is None:
        return (_title(row), f"{row.length / 1000:.0f}", *["-"] * (len(HEADS) - 2))
    return (
        _title(row),
        f"{row.length / 1000:.0f}",
        str(work.frames),
        f"{work.median:.1f}",
        f"{work.p95:.1f}",
        f"{work.worst_frame:.0f}",
        f"{work.longest_task:.0f}",
        f"{work.longest_wall:.0f}",
        f"{row.heap:.0f}",
        f"{row.elements:,}",
        f"{work.seconds:.1f}",
    )

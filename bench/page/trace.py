"""Reads the browser's trace: how long the main thread of the page worked, frame by frame.

The format is Chrome's "Trace Event Format": `X` is a complete event, `dur` its time by the clock and `tdur` its time on
the CPU, both in microseconds.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CATEGORIES = ["toplevel", "blink.user_timing"]

BEGIN, FRAME, END = "bench:begin", "bench:frame", "bench:end"
"""Marks that the page sets. What is before the first one or after the last one is not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The main thread between the marks. Times are milliseconds on the CPU: other processes change them little."""

    frames: int
    median: float
    p95: float
    worst_frame: float
    longest_task: float
    longest_wall: float
    """The longest task by the clock. On a busy machine it also waits for other processes."""

    seconds: float
    """From mark to mark, by the clock."""


def work(trace: bytes) -> Work:
    """Return what the trace of a page with both marks says.

    Raises:
        ValueError: the trace has no marks, or no frames between them.
    """
    events: list[dict[str, Any]] = json.loads(trace)["traceEvents"]
    marks = {event["name"]: event for event in events if event["name"] in (BEGIN, END)}
    if len(marks) != 2:
        raise ValueError("the page did not set its marks")
    thread = marks[BEGIN]["pid"], marks[BEGIN]["tid"]
    begin, end = marks[BEGIN]["ts"], marks[END]["ts"]
    mine = [event for event in events if (event["pid"], event["tid"]) == thread and begin <= event["ts"] <= end]
    tasks = sorted(
        (event["ts"], event.get("tdur", event["dur"]) / 1000, event["dur"] / 1000)
        for event in mine
        if event["name"] == "ThreadControllerImpl::RunTask" and event["ph"] == "X"
    )
    frames = sorted(event["ts"] for event in mine if event["name"] == FRAME)
    if not frames or not tasks:
        raise ValueError("the page drew no frame")
    sums = _each_frame(frames, tasks)
    return Work(
        frames=len(sums),
        median=quantile(sums, 0.5),
        p95=quantile(sums, 0.95),
        worst_frame=max(sums),
        longest_task=max(cpu for _, cpu, _ in tasks),
        longest_wall=max(wall for _, _, wall in tasks),
        seconds=(end - begin) / 1e6,
    )


def _each_frame(frames: Sequence[float], tasks: Sequence[tuple[float, float, float]]) -> list[float]:
    """The work from the beginning of each frame to the beginning of the next one."""
    sums = [0.0]
    upcoming = iter([*frames[1:], float("inf")])
    border = next(upcoming)
    for start, cpu, _ in tasks:
        while start >= border:
            sums.append(0.0)
            border = next(upcoming)
        sums[-1] += cpu
    return sums


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]

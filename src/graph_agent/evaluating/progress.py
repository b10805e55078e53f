"""Shows how many rows are done: as a bar in a terminal, and as lines in a log."""

import sys
from importlib.util import find_spec
from typing import Protocol, TextIO

from graph_agent.evaluating.records import Record
from graph_agent.work_lines import WorkLines


class Progress(Protocol):
    """Receives each row that is done."""

    def begin(self, *, total: int, done: int) -> None:
        """Start. `total` is the number of rows, and `done` the number that an earlier evaluation asked."""

    def row(self, record: Record) -> None:
        """Count one more row as done."""

    def end(self) -> None:
        """Stop. No more rows follow."""


class Silent:
    """Shows nothing."""

    def begin(self, *, total: int, done: int) -> None:
        """See `Progress`."""

    def row(self, record: Record) -> None:
        """See `Progress`."""

    def end(self) -> None:
        """See `Progress`."""


class Lines:
    """Writes a line after every tenth of the rows, and one every few seconds, for logs."""

    def __init__(self, out: TextIO, *, seconds: float | None = None) -> None:
        """`seconds` is how long nothing is written at most. By default it is that of `WorkLines`."""
        self._lines = WorkLines(out, seconds=seconds)
        self._total = self._done = self._failed = 0

    def begin(self, *, total: int, done: int) -> None:
        """See `Progress`."""
        self._total, self._done = total, done
        resumed = f", {done} of them already done" if done else ""
        self._lines.begin()
        self._lines.show(f"asking {total} rows{resumed}")

    def row(self, record: Record) -> None:
        """See `Progress`."""
        self._done += 1
        self._failed += record.last.status != "completed"
        is_tenth = self._done % max(1, self._total // 10) == 0 or self._done == self._total
        self._lines.show(f"  {self._done} of {self._total}, {self._failed} failed", now=is_tenth)

    def end(self) -> None:
        """See `Progress`."""
        self._lines.end()


class Bar:
    """Shows a bar with the remaining time. It needs the package `rich`."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def begin(self, *, total: int, done: int) -> None:
        """See `Progress`."""
        self._bar.start()
        self._task = self._bar.add_task("asking", total=total, completed=done)

    def row(self, record: Record) -> None:
        """See `Progress`."""
        self._bar.update(self._task, advance=1, description=f"{record.id} {record.seconds:.1f} s")

    def end(self) -> None:
        """See `Progress`."""
        self._bar.stop()


def progress() -> Progress:
    """Return a bar if standard error is a terminal and `rich` is installed, else lines."""
    return Bar() if sys.stderr.isatty() and find_spec("rich") else Lines(sys.stderr)

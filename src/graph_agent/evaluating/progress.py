"""Shows how many rows are done: a bar in a terminal, a line now and then elsewhere."""

import sys
from importlib.util import find_spec
from typing import Protocol, TextIO

from graph_agent.evaluating.records import Record


class Progress(Protocol):
    """Is told each row that is done."""

    def begin(self, *, total: int, done: int) -> None:
        """Begin. `total` is the number of rows, `done` how many of them an earlier evaluation asked."""

    def row(self, record: Record) -> None:
        """One more row is done."""

    def end(self) -> None:
        """No more rows will come."""


class Silent:
    """Shows nothing."""

    def begin(self, *, total: int, done: int) -> None:
        """See `Progress`."""

    def row(self, record: Record) -> None:
        """See `Progress`."""

    def end(self) -> None:
        """See `Progress`."""


class Lines:
    """A line after every tenth of the rows, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._total = self._done = self._failed = 0

    def begin(self, *, total: int, done: int) -> None:
        """See `Progress`."""
        self._total, self._done = total, done
        resumed = f", {done} of them done before" if done else ""
        print(f"asking {total} rows{resumed}", file=self._out, flush=True)

    def row(self, record: Record) -> None:
        """See `Progress`."""
        self._done += 1
        self._failed += record.last.status != "completed"
        if self._done % max(1, self._total // 10) == 0 or self._done == self._total:
            print(f"  {self._done} of {self._total}, {self._failed} failed", file=self._out, flush=True)

    def end(self) -> None:
        """See `Progress`."""


class Bar:
    """A bar with the remaining time. It needs the package `rich`."""

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
    """A bar if standard error is a terminal and `rich` is installed; lines otherwise."""
    return Bar() if sys.stderr.isatty() and find_spec("rich") else Lines(sys.stderr)

"""Shows a load test while it runs: as one line that changes in a terminal, and as lines in a log."""

import time
from collections.abc import Callable
from typing import TextIO

from graph_agent.load_testing.figures import Figures
from graph_agent.load_testing.gate import named
from graph_agent.load_testing.plan import Plan
from graph_agent.load_testing.report import seconds

LINE_EVERY = 10
"""Seconds between two lines in a log."""


class Progress:
    """Prints where the test is, and what it has found in the step so far."""

    def __init__(self, plan: Plan, out: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._out = out
        self._clock = clock
        self._changes = out.isatty()
        self._number = self._seconds = 0
        self._figures = Figures()
        self._began = clock()

    def step(self, number: int, figures: Figures) -> None:
        """A step has begun."""
        self._show()
        self._number, self._figures, self._began, self._seconds = number, figures, self._clock(), 0
        if self._changes and number:
            print(file=self._out)

    def second(self) -> None:
        """Another second has passed."""
        self._seconds += 1
        if self._changes or self._seconds % LINE_EVERY == 0:
            self._show()

    def end(self) -> None:
        """The test has ended."""
        self._show()
        if self._changes:
            print(file=self._out)

    def _show(self) -> None:
        found = self._figures
        if not found.asked:
            return
        at = min(self._clock() - self._began, self._plan.seconds)
        line = (
            f"step {self._number + 1} of {len(self._plan.users)}, {named(found)}, {at:.0f} of "
            f"{self._plan.seconds:g} s: {found.answered} answers, {found.failed} errors, first token p50 "
            f"{seconds(found.first_text.percentile(50))}, p95 {seconds(found.first_text.percentile(95))}"
        )
        # Without a line end, and over the line before, whose rest is erased.
        print(f"\r{line}\x1b[K" if self._changes else line, end="" if self._changes else "\n", file=self._out)
        self._out.flush()

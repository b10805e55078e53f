"""Compares a load test with the limits of the command line."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from graph_agent.load_testing.errors import LoadRefused
from graph_agent.load_testing.figures import Figures, Result
from graph_agent.load_testing.histogram import Histogram

_ERRORS = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,6})?)(?P<percent>%)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class MostErrors:
    """A limit of failed answers, as their number in the whole test or as their share of each step."""

    number: float
    is_percent: bool

    @classmethod
    def of(cls, text: str) -> "MostErrors":
        """Read `10` or `0.5%`.

        Raises:
            LoadRefused: it is neither.
        """
        match = _ERRORS.fullmatch(text)
        if match is None or (match["percent"] is None and "." in text) or (match["percent"] and float(match[1]) > 100):
            raise LoadRefused("--max-errors is a whole number of answers, or a share such as 0.5%")
        return cls(float(match["number"]), match["percent"] is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The limits that somebody asked for. Those that are `None` are not compared."""

    p95_first_text: float | None = None
    """Seconds, in every step."""

    p95_total: float | None = None
    """Seconds, in every step."""

    errors: MostErrors | None = None

    def __post_init__(self) -> None:
        for name, value in (("first-token", self.p95_first_text), ("total", self.p95_total)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise LoadRefused(f"--max-p95-{name} is a number of seconds above 0")

    @property
    def is_open(self) -> bool:
        """Whether nothing is compared."""
        return self.p95_first_text is None and self.p95_total is None and self.errors is None

    def failures(self, result: Result) -> list[str]:
        """Why the test did not pass. Empty if it passed, or if there is no limit."""
        return [] if self.is_open else list(self._failures(result))

    def _failures(self, result: Result) -> Iterator[str]:
        if result.stopped:
            yield "the test was stopped before its end"
        if self.errors is not None and not self.errors.is_percent and result.whole.failed > self.errors.number:
            yield f"{result.whole.failed} answers failed, and at most {self.errors.number:g} may"
        for step in result.steps:
            yield from self._step(step)

    def _step(self, step: Figures) -> Iterator[str]:
        if not step.answered:
            yield f"{named(step)}: there was no whole answer"
            return
        percent = step.failed_share * 100
        if self.errors is not None and self.errors.is_percent and percent > self.errors.number:
            yield f"{named(step)}: {percent:.3g}% of the answers failed, and at most {self.errors.number:g}% may"
        yield from _slow(step, "first token", step.first_text, self.p95_first_text)
        yield from _slow(step, "whole answer", step.total, self.p95_total)


def _slow(step: Figures, what: str, times: Histogram, most: float | None) -> Iterator[str]:
    p95 = times.percentile(95)
    if most is None:
        return
    if p95 is None:
        yield f"{named(step)}: no answer had text, so there is no time of the {what}"
    elif p95 > most:
        yield f"{named(step)}: p95 of the {what} is {p95:.3g} s, and at most {most:g} s is allowed"


def named(step: Figures) -> str:
    """How a step is called in a sentence."""
    return f"{step.users} user{'s' * (step.users != 1)}"

"""What a load test has counted: for each step, and over time. Nothing here grows with the number of answers."""

import math
from dataclasses import dataclass, field

from graph_agent.load_testing.histogram import Histogram

MOST_KINDS = 50
"""Kinds of errors that are counted one by one. A service could make up a new code for each answer."""

OTHER = "other errors"
MOST_SLICES = 240
"""Slices of time. When there are more, each two become one."""


@dataclass(slots=True)
class Figures:
    """The answers to the questions that were asked in one step, or in all."""

    users: int = 0
    seconds: float = 0.0
    """How long questions were asked."""

    asked: int = 0
    answered: int = 0
    """Whole answers."""

    unfinished: int = 0
    """Answers that were neither whole nor failed when the test ended."""

    output_tokens: int = 0
    """As the service counted them. 0 if it does not."""

    pieces: int = 0
    first_text: Histogram = field(default_factory=Histogram)
    """From the request to the first text, of whole answers."""

    total: Histogram = field(default_factory=Histogram)
    """From the request to the end of the body, of whole answers."""

    gaps: Histogram = field(default_factory=Histogram)
    """Between two pieces of text."""

    longest_gaps: Histogram = field(default_factory=Histogram)
    """The longest gap of each whole answer."""

    errors: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Answers that were not whole, for any reason."""
        return sum(self.errors.values())

    @property
    def ended(self) -> int:
        """Answers that were whole or failed."""
        return self.answered + self.failed

    @property
    def failed_share(self) -> float:
        """The share of ended answers that failed, from 0 to 1."""
        return self.failed / self.ended if self.ended else 0.0

    def rate(self, count: float) -> float:
        """A count, for each second of the step."""
        return count / self.seconds if self.seconds else 0.0

    def fail(self, kind: str) -> None:
        """Count a failed answer."""
        kind = kind if kind in self.errors or len(self.errors) < MOST_KINDS else OTHER
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def merge(self, other: "Figures") -> None:
        """Add the figures of another step."""
        self.users = max(self.users, other.users)
        self.seconds += other.seconds
        self.asked += other.asked
        self.answered += other.answered
        self.unfinished += other.unfinished
        self.output_tokens += other.output_tokens
        self.pieces += other.pieces
        self.first_text.merge(other.first_text)
        self.total.merge(other.total)
        self.gaps.merge(other.gaps)
        self.longest_gaps.merge(other.longest_gaps)
        for kind, count in other.errors.items():
            self.errors[kind] = self.errors.get(kind, 0) + count


@dataclass(slots=True)
class Slice:
    """What happened in a short time."""

    users: int = 0
    answered: int = 0
    failed: int = 0
    first_text: Histogram = field(default_factory=Histogram)

    def merge(self, other: "Slice") -> None:
        """Add the slice that follows."""
        self.users = max(self.users, other.users)
        self.answered += other.answered
        self.failed += other.failed
        self.first_text.merge(other.first_text)


class Timeline:
    """The test in slices of equal length, at first one second each."""

    def __init__(self) -> None:
        self.width = 1.0
        """The seconds of a slice."""
        self.slices: list[Slice] = []

    def at(self, seconds: float) -> Slice:
        """The slice of a moment, in seconds since the beginning."""
        while int(seconds / self.width) >= MOST_SLICES:
            self._widen()
        place = math.floor(max(seconds, 0.0) / self.width)
        while len(self.slices) <= place:
            self.slices.append(Slice())
        return self.slices[place]

    def _widen(self) -> None:
        self.width *= 2
        for left in range(0, len(self.slices) - 1, 2):
            self.slices[left].merge(self.slices[left + 1])
        self.slices = self.slices[::2]


@dataclass(slots=True)
class Result:
    """A load test that has ended, or was stopped."""

    steps: list[Figures] = field(default_factory=list)
    """The steps that began."""

    timeline: Timeline = field(default_factory=Timeline)
    own_delay: Histogram = field(default_factory=Histogram)
    """How late this process was when it wanted to be on time."""

    stopped: bool = False
    """Whether somebody stopped it before its end."""

    @property
    def whole(self) -> Figures:
        """All steps together."""
        sum_of_all = Figures()
        for step in self.steps:
            sum_of_all.merge(step)
        return sum_of_all

    @property
    def is_late(self) -> bool:
        """Whether this machine was too slow for the load, so that the times are its own and not the service's."""
        return (self.own_delay.percentile(99) or 0.0) > 0.1

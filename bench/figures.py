"""The measurements and how they are compared: medians over rounds, each round against the floor of the same round."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.client import Load, Stream
from bench.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    rounds: int
    singles: int
    """Sequential streams of each visit, for the time of the first event."""

    streams: int = 32
    """Concurrent streams."""

    seconds: float
    """How long the concurrent streams run in each visit."""

    least: int
    """The least streams of each connection. With only one, a server could export its traces after the measurement."""


FULL = Plan(rounds=6, singles=15, seconds=1.5, least=3)
QUICK = Plan(rounds=2, singles=8, seconds=0.7, least=2)


@dataclass(frozen=True, slots=True)
class Visit:
    """One row in one round."""

    first_event_ms: float
    """From writing the request to the first frame, with one stream at a time. The median of the visit."""

    first_token_ms: float
    tokens_per_second: float
    """Of all concurrent streams, counted by the client."""

    frames_per_second: float
    cpu_us_per_token: float
    """CPU time of the server's processes, including the delivery of traces."""


@dataclass(slots=True)
class Result:
    """One row over the whole benchmark."""

    row: Row
    answers_seconds: float = 0.0
    """From start until the port answers."""

    ready_seconds: float = 0.0
    """From start until the end of the first stream."""

    memory_mb: float = 0.0
    """After the last round."""

    streams: int = 0
    """The number of all streams, including those for warming up."""

    traces: int | None = None
    """Traces that reached the tracking server."""

    visits: list[Visit] = field(default_factory=list)
    broken: str | None = None
    """Why the row has no figures."""


def visit_of(singles: Sequence[Stream], load: Load, cpu_seconds: float) -> Visit:
    """Return the figures of one visit."""
    return Visit(
        first_event_ms=statistics.median(stream.first_frame for stream in singles) * 1e3,
        first_token_ms=statistics.median(stream.first_token for stream in singles) * 1e3,
        tokens_per_second=load.tokens / load.seconds,
        frames_per_second=load.frames / load.seconds,
        cpu_us_per_token=cpu_seconds / load.tokens * 1e6,
    )


Figure = Callable[[Visit], float]


def median(result: Result, figure: Figure) -> float:
    """Return the median of a figure over the rounds."""
    return statistics.median(map(figure, result.visits))


def ratio(result: Result, other: Result, figure: Figure) -> float:
    """Divide a figure by that of the other row in the same round, and return the median over the rounds."""
    return statistics.median(figure(a) / figure(b) for a, b in zip(result.visits, other.visits, strict=False))


def excess(result: Result, other: Result, figure: Figure) -> float:
    """Subtract the figure of the other row in the same round, and return the median over the rounds."""
    return statistics.median(figure(a) - figure(b) for a, b in zip(result.visits, other.visits, strict=False))


def tokens(visit: Visit) -> float:
    """Return the main figure."""
    return visit.tokens_per_second

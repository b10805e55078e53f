"""What was measured, and what is compared: medians over rounds, each round against its own floor."""

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
    """Streams one by one per visit, for the first event."""

    streams: int = 32
    """Streams at once."""

    seconds: float
    """How long they are kept open per visit."""

    least: int
    """Streams per connection, however slow: with one alone, a server could leave all its exporting for afterwards."""


FULL = Plan(rounds=6, singles=15, seconds=1.5, least=3)
QUICK = Plan(rounds=2, singles=8, seconds=0.7, least=2)


@dataclass(frozen=True, slots=True)
class Visit:
    """One row in one round."""

    first_event_ms: float
    """From the request written to the first frame, one stream at a time; median of the visit."""

    first_token_ms: float
    tokens_per_second: float
    """Of all streams at once, at the client."""

    frames_per_second: float
    cpu_us_per_token: float
    """CPU time of the server's processes, delivery of traces included."""


@dataclass(slots=True)
class Result:
    """One row over the whole bench."""

    row: Row
    answers_seconds: float = 0.0
    """From start until the port answers."""

    ready_seconds: float = 0.0
    """From start until the first stream has come to its end."""

    memory_mb: float = 0.0
    """After the last round."""

    streams: int = 0
    """Every stream asked for, warming up included."""

    traces: int | None = None
    """Traces that reached the tracking server."""

    visits: list[Visit] = field(default_factory=list)
    broken: str | None = None
    """Why the row has no figures."""


def visit_of(singles: Sequence[Stream], load: Load, cpu_seconds: float) -> Visit:
    """The figures of one visit."""
    return Visit(
        first_event_ms=statistics.median(stream.first_frame for stream in singles) * 1e3,
        first_token_ms=statistics.median(stream.first_token for stream in singles) * 1e3,
        tokens_per_second=load.tokens / load.seconds,
        frames_per_second=load.frames / load.seconds,
        cpu_us_per_token=cpu_seconds / load.tokens * 1e6,
    )


Figure = Callable[[Visit], float]


def median(result: Result, figure: Figure) -> float:
    """A figure's median over the rounds."""
    return statistics.median(map(figure, result.visits))


def ratio(result: Result, other: Result, figure: Figure) -> float:
    """Median over rounds of a figure divided by the other row's in the same round."""
    return statistics.median(figure(a) / figure(b) for a, b in zip(result.visits, other.visits, strict=False))


def excess(result: Result, other: Result, figure: Figure) -> float:
    """Median over rounds of a figure minus the other row's in the same round."""
    return statistics.median(figure(a) - figure(b) for a, b in zip(result.visits, other.visits, strict=False))


def tokens(visit: Visit) -> float:
    """The main figure."""
    return visit.tokens_per_second

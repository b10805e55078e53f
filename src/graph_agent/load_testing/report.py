"""The result of a load test as JSON, and as lines for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph_agent.load_testing.addresses import Address
from graph_agent.load_testing.figures import Figures, Result
from graph_agent.load_testing.gate import Gate
from graph_agent.load_testing.histogram import Histogram
from graph_agent.load_testing.plan import Plan

PERCENTS = (50, 90, 95, 99)

HEADS = ("users", "answers", "errors", "answers/s", "tokens/s", "first token p50", "p95", "whole p50", "p95")

HINTS = {
    "HTTP 429 too_many_runs": "all slots of GRAPH_AGENT_MAX_RUNS were taken",
    "HTTP 429": "the service or its host limits requests",
    "error model_rate_limited": "the model endpoint limits requests, also after retries",
    "HTTP 503": "the service or its host could not take the request",
    "HTTP 503 not_ready": "the graphs were loading, or every thread for synchronous nodes was occupied",
    "HTTP 503 store_unavailable": "the database did not answer",
    "HTTP 503 service_stopping": "the service was shutting down",
    "HTTP 401": "the token was not accepted",
    "no connection": "nothing listens there, or the host's queue of connections is full",
}
"""What kinds of errors mean, where their name does not say it."""

LATE = (
    "This machine was too slow for this load: its own delay is in the times. Use fewer users, or run the test on "
    "another machine than the service."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A load test with all that its reports say."""

    plan: Plan
    address: Address
    result: Result
    gate: Gate
    began: str
    """The moment it began, as text with its time zone."""

    version: str
    """The version of graph-agent that asked."""

    @property
    def failures(self) -> list[str]:
        """Why the test did not pass its limits."""
        return self.gate.failures(self.result)

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured. Times are seconds."""
        result, plan = self.result, self.plan
        return {
            "format": 1,
            "began": self.began,
            "graph_agent": self.version,
            "address": self.address.shown,
            "graph": self.address.graph,
            "stored": self.address.stored,
            "plan": {
                "users": list(plan.users),
                "seconds": plan.seconds,
                "think": plan.think,
                "timeout": plan.timeout,
                "questions": len(plan.questions),
            },
            "stopped": result.stopped,
            "passed": None if self.gate.is_open else not self.failures,
            "failures": self.failures,
            "own_delay": _times(result.own_delay),
            "whole": _step(result.whole),
            "steps": [_step(step) for step in result.steps],
            "slice_seconds": result.timeline.width,
            "slices": [
                {
                    "users": one.users,
                    "answered": one.answered,
                    "failed": one.failed,
                    "first_token": _times(one.first_text),
                }
                for one in result.timeline.slices
            ],
        }

    def lines(self) -> Iterator[str]:
        """The report for a terminal."""
        rows: list[tuple[str, ...]] = [HEADS]
        rows += [_cells(step) for step in self.result.steps]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for kind, count in errors_of(self.result.whole):
            yield f"{count} x {kind}" + (f": {hint}" if (hint := hint_of(kind)) else "")
        if self.result.whole.unfinished:
            yield f"{self.result.whole.unfinished} answers were under way at the end, and are not counted"
        if self.result.is_late:
            yield LATE
        for failure in self.failures:
            yield f"FAIL {failure}"


def errors_of(figures: Figures) -> list[tuple[str, int]]:
    """The kinds of errors, the most frequent first."""
    return sorted(figures.errors.items(), key=lambda one: (-one[1], one[0]))


def hint_of(kind: str) -> str | None:
    """What a kind of error means, if more can be said than its name."""
    return HINTS.get(kind) or HINTS.get(" ".join(kind.split()[:2]))


def seconds(value: float | None) -> str:
    """A time for a person: with a unit, and three digits."""
    if value is None:
        return "-"
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s" if value < 999.5 else f"{value:.0f} s"


def rate(value: float) -> str:
    """A rate for a person."""
    return f"{value:.3g}" if value < 999.5 else f"{value:.0f}"


def percentiles(times: Histogram, percents: Sequence[int] = PERCENTS) -> list[float | None]:
    """The percentiles of a table."""
    return [times.percentile(one) for one in percents]


def _cells(step: Figures) -> tuple[str, ...]:
    first, total = percentiles(step.first_text, (50, 95)), percentiles(step.total, (50, 95))
    counts = (str(step.users), str(step.answered), str(step.failed), rate(step.rate(step.answered)))
    tokens = rate(step.rate(step.output_tokens)) if step.output_tokens else "-"
    return (*counts, tokens, *map(seconds, first), *map(seconds, total))


def _step(step: Figures) -> Mapping[str, Any]:
    return {
        "users": step.users,
        "seconds": _rounded(step.seconds),
        "asked": step.asked,
        "answered": step.answered,
        "failed": step.failed,
        "unfinished": step.unfinished,
        "errors": dict(errors_of(step)),
        "answers_per_second": _rounded(step.rate(step.answered)),
        "output_tokens": step.output_tokens,
        "output_tokens_per_second": _rounded(step.rate(step.output_tokens)),
        "pieces": step.pieces,
        "first_token": _times(step.first_text),
        "total": _times(step.total),
        "gap": _times(step.gaps),
        "longest_gap": _times(step.longest_gaps),
    }


def _times(times: Histogram) -> Mapping[str, Any]:
    found = {f"p{percent}": _rounded(times.percentile(percent)) for percent in PERCENTS} if times.count else {}
    ends = {"mean": _rounded(times.mean()), "max": _rounded(times.most)} if times.count else {}
    return {"count": times.count, **found, **ends}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)

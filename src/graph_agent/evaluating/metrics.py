"""The metrics of an evaluation: how each aggregates the figures of the rows, and how far it may fall by default."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric: the figures of one name over all rows that have it, as one number."""

    figure: str
    summed: Callable[[Sequence[float]], float] = statistics.fmean
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    never_worse: bool = False
    """The code guarantees it whatever the model says. The floor is the value that it had."""

    steady: bool = False
    """A model or a network rarely breaks it, but a bug in the service always does. The floor is close to the value."""

    ranking: bool = False
    """It depends on the order of passages, which any edit of a document may change. A small drop is allowed."""


def _p(share: float) -> Callable[[Sequence[float]], float]:
    def percentile(values: Sequence[float]) -> float:
        ordered = sorted(values)
        # The nearest rank, and no interpolation: the result is the time of an actual row.
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return percentile


METRICS: Mapping[str, Metric] = {
    "facts_covered": Metric(figure="facts_covered"),
    "answered_when_must": Metric(figure="answered_when_must"),
    "declined_when_must": Metric(figure="declined_when_must"),
    "tool_calls_f1": Metric(figure="tool_calls_f1"),
    "tool_arguments": Metric(figure="tool_arguments"),
    "recall_at_5": Metric(figure="recall_at_5"),
    "mrr": Metric(figure="mrr", ranking=True),
    "ndcg_at_5": Metric(figure="ndcg_at_5", ranking=True),
    "citations_valid": Metric(figure="citations_valid", never_worse=True),
    "citation_recall": Metric(figure="citation_recall"),
    "no_leak": Metric(figure="no_leak", never_worse=True),
    "no_error": Metric(figure="no_error", steady=True),
    "well_formed": Metric(figure="well_formed", steady=True),
    "first_token_seconds_p50": Metric(figure="first_token_seconds", summed=_p(0.5), better="lower", unit="s"),
    "first_token_seconds_p95": Metric(figure="first_token_seconds", summed=_p(0.95), better="lower", unit="s"),
    "seconds_p50": Metric(figure="seconds", summed=_p(0.5), better="lower", unit="s"),
    "seconds_p95": Metric(figure="seconds", summed=_p(0.95), better="lower", unit="s"),
    "input_tokens": Metric(figure="input_tokens", better="lower", unit="tokens"),
    "output_tokens": Metric(figure="output_tokens", better="lower", unit="tokens"),
}


def metric(name: str) -> Metric:
    """Return the metric of a name. A metric that is not listed, such as a judge's, is the mean of its figures."""
    return METRICS.get(name) or Metric(figure=name)


def measured(figures: Sequence[Mapping[str, float | None]]) -> dict[str, tuple[float, int]]:
    """Return value and number of rows of every metric that at least one row has."""
    named = {name for one in figures for name in one}
    listed = {spec.figure for spec in METRICS.values()}
    names = [*METRICS, *sorted(named - listed)]
    values = {name: [v for one in figures if (v := one.get(metric(name).figure)) is not None] for name in names}
    return {name: (metric(name).summed(found), len(found)) for name, found in values.items() if found}

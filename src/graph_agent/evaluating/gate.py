"""The gate: compares scores with the committed baseline, and names every metric that fails."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from graph_agent.evaluating.baseline import UNSTEADY, Baseline, Limit
from graph_agent.evaluating.bootstrap import lower_bound, upper_bound
from graph_agent.evaluating.metrics import metric
from graph_agent.evaluating.scores import Scores

ROUNDING = 1e-3
"""Differences up to this do not count, because the values of a baseline are rounded."""

Kind = Literal["rows", "scorer", "missing", "new", "floor", "ceiling", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One reason why the gate failed."""

    metric: str
    """The metric, or `rows`, or `scorer NAME`."""

    kind: Kind
    message: str
    rows: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The result of the gate."""

    failures: list[Failure] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    """Metrics that were compared."""

    baseline: dict[str, float] = field(default_factory=dict)
    """The baseline's metrics over the same rows."""

    regressed: dict[str, list[str]] = field(default_factory=dict)
    """Rows that got worse, with the figures that fell."""

    fixed: dict[str, list[str]] = field(default_factory=dict)
    """Rows that got better, with the figures that rose."""

    @property
    def passed(self) -> bool:
        """Whether the gate passed."""
        return not self.failures

    @property
    def failed_metrics(self) -> list[str]:
        """The names of the metrics that failed, each once."""
        return list(dict.fromkeys(failure.metric for failure in self.failures))

    def json(self) -> dict[str, Any]:
        """Return the verdict as it is stored in `scores.json`."""
        return {"passed": self.passed, **asdict(self)}


def compare(scores: Scores, baseline: Baseline, *, sample: bool = False) -> Verdict:
    """Compare scores with a baseline. For a `sample`, the other rows of the baseline do not count."""
    verdict = Verdict()
    verdict.failures += _rows(scores, baseline, sample)
    verdict.failures += [*_scorers(scores), *_conversations(scores)]
    same = [name for name in scores.rows if name in baseline.rows]
    for name, found in _over(baseline, same, sample).items():
        verdict.baseline[name] = found
    for name, limit in baseline.metrics.items():
        if sample and metric(name).figure not in UNSTEADY and name not in verdict.baseline:
            # None of the rows in the sample has this metric.
            continue
        verdict.checked.append(name)
        verdict.failures += _metric(name, limit, scores, baseline, same, sample)
    verdict.failures += [
        Failure(metric=name, kind="new", message="is not in the baseline; graph-agent eval baseline adds it")
        for name in scores.metrics()
        if name not in baseline.metrics
    ]
    verdict.regressed, verdict.fixed = _moved(scores, baseline, same)
    return verdict


def _rows(scores: Scores, baseline: Baseline, sample: bool) -> Iterator[Failure]:
    def failure(message: str, names: Sequence[str]) -> Iterator[Failure]:
        if names:
            yield Failure(metric="rows", kind="rows", message=f"{message}: {_few(names)}", rows=tuple(names))

    yield from failure("were not asked", scores.missing)
    yield from failure("have a record and are not in the dataset", scores.extra)
    yield from failure(
        "are not in the baseline; graph-agent eval baseline adds them",
        [n for n in scores.rows if n not in baseline.rows],
    )
    if not sample:
        known = {*scores.rows, *scores.missing}
        yield from failure(
            "are in the baseline and not in the dataset; graph-agent eval baseline drops them",
            [name for name in baseline.rows if name not in known],
        )
    yield from failure(
        "were changed since the baseline; graph-agent eval baseline scores them again",
        [n for n, row in scores.rows.items() if n in baseline.rows and row.digest != baseline.rows[n]["digest"]],
    )


def _scorers(scores: Scores) -> Iterator[Failure]:
    failed: dict[tuple[str, str], list[str]] = {}
    for name, row in scores.rows.items():
        for scorer, error in row.errors.items():
            failed.setdefault((scorer, error), []).append(name)
    for (scorer, error), names in failed.items():
        message = f"raised {error} on {len(names)} rows: {_few(names)}"
        yield Failure(metric=f"scorer {scorer}", kind="scorer", message=message, rows=tuple(names))


def _conversations(scores: Scores) -> Iterator[Failure]:
    """Report conversations that failed. No two conversations are alike, so their figures do not count."""
    if failed := [f"{one['row']} ({', '.join(one['errors'])})" for one in scores.conversations if one["errors"]]:
        yield Failure(metric="conversations", kind="scorer", message=f"failed: {_few(failed)}")


def _over(baseline: Baseline, same: Sequence[str], sample: bool) -> dict[str, float]:
    """Return the metrics of the baseline: over all its rows, or only over the rows of a sample."""
    if not sample:
        return {name: limit.value for name, limit in baseline.metrics.items()}
    found = {}
    for name in baseline.metrics:
        values = [v for one in same if (v := baseline.rows[one]["values"].get(metric(name).figure)) is not None]
        if values:
            found[name] = metric(name).summed(values)
    return found


def _metric(
    name: str, limit: Limit, scores: Scores, baseline: Baseline, same: Sequence[str], sample: bool
) -> Iterator[Failure]:
    figure = metric(name).figure
    found = scores.metrics().get(name)
    if found is None:
        yield Failure(metric=name, kind="missing", message="has no value, because no row gave one")
        return
    value = found[0]
    pairs = [
        (one, scores.rows[one].values.get(figure), baseline.rows[one]["values"][figure])
        for one in same
        if figure in baseline.rows[one]["values"]
    ]
    # A figure is not missing if a judge noted why it does not apply to the row.
    gone = [one for one, now, _ in pairs if now is None and figure not in scores.rows[one].notes]
    # A baseline has no values of these figures for single rows. If all its rows had one, all rows must have one now.
    if figure in UNSTEADY and limit.n == len(baseline.rows):
        gone += [one for one, row in scores.rows.items() if row.values.get(figure) is None]
    if gone:
        message = f"no longer has a value for {len(gone)} rows: {_few(gone)}"
        yield Failure(metric=name, kind="missing", message=message, rows=tuple(gone))
    values = [v for row in scores.rows.values() if (v := row.values.get(figure)) is not None]
    # In a small sample, chance alone may bring the value below a floor that was set for all rows.
    judged_value = upper_bound(values) if sample and baseline.noise == "interval" else value
    if limit.floor is not None and judged_value < limit.floor - ROUNDING:
        yield Failure(metric=name, kind="floor", message=f"is {value:.3f}, below its floor of {limit.floor:g}")
    # The ceiling was set for all rows. The p95 of a small sample may simply be its slowest row.
    if limit.ceiling is not None and not sample and value > limit.ceiling:
        yield Failure(metric=name, kind="ceiling", message=f"is {value:.3g}, above its ceiling of {limit.ceiling:g}")
    drops = {one: before - now for one, now, before in pairs if now is not None}
    if limit.max_drop is not None and drops:
        yield from _drop(name, limit.max_drop, drops, baseline)


def _drop(name: str, allowed: float, drops: Mapping[str, float], baseline: Baseline) -> Iterator[Failure]:
    mean = sum(drops.values()) / len(drops)
    certain = mean if baseline.noise == "exact" else lower_bound(list(drops.values()))
    if mean > 0 and certain > allowed + ROUNDING:
        worse = sorted((one for one, drop in drops.items() if drop > ROUNDING), key=lambda one: -drops[one])
        sure = "" if baseline.noise == "exact" else f" (at least {certain:.3f} with 95% confidence)"
        message = f"fell by {mean:.3f}{sure} over {len(drops)} rows; {allowed:g} is allowed. Worse: {_few(worse)}"
        yield Failure(metric=name, kind="drop", message=message, rows=tuple(worse))


def _moved(
    scores: Scores, baseline: Baseline, same: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    regressed: dict[str, list[str]] = {}
    fixed: dict[str, list[str]] = {}
    for one in same:
        for figure, before in baseline.rows[one]["values"].items():
            now = scores.rows[one].values.get(figure)
            if now is None or now < before - ROUNDING:
                regressed.setdefault(one, []).append(figure)
            elif now > before + ROUNDING:
                fixed.setdefault(one, []).append(figure)
    return regressed, fixed


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown

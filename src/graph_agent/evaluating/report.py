"""Shows scores and verdict as a table: for the terminal, and as Markdown for a CI summary."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from graph_agent.evaluating.baseline import Baseline
from graph_agent.evaluating.gate import Verdict
from graph_agent.evaluating.metrics import metric
from graph_agent.evaluating.report_rows import failing
from graph_agent.evaluating.scores import Scores, means

MOST_ROWS = 20
"""Rows that a line lists. The others are only counted."""

NO_REASONS: Mapping[str, str] = MappingProxyType({})

NO_BASELINE = "There is no baseline to compare with; graph-agent eval baseline writes it."


def terminal(
    scores: Scores,
    verdict: Verdict | None,
    baseline: Baseline | None,
    no_baseline: str = NO_BASELINE,
    reasons: Mapping[str, str] = NO_REASONS,
) -> str:
    """Return the metrics, the rows that changed, and the verdict.

    Without a verdict they are the rows that fail an expectation, and the last line is `no_baseline`. `reasons` says of
    rows why they fail.
    """
    lines = [headline(scores), ""]
    lines += [
        f"{mark:4} {name:25} {value:>10} {before:>10}  {limit:12} {rows:>5}"
        for mark, name, value, before, limit, rows in [
            ("", "metric", "value", "baseline", "limit", "rows"),
            *table(scores, verdict, baseline),
        ]
    ]
    lines += ["", *conversation_lines(scores), *verdict_lines(scores, verdict, no_baseline, reasons)]
    return "\n".join(line.rstrip() for line in lines)


def markdown(
    scores: Scores,
    verdict: Verdict | None,
    baseline: Baseline | None,
    no_baseline: str = NO_BASELINE,
    reasons: Mapping[str, str] = NO_REASONS,
) -> str:
    """Return the same as Markdown, with the metrics of each tag."""
    lines = [
        f"## Evaluation: {headline(scores)}",
        "",
        "| | Metric | Value | Baseline | Limit | Rows |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(_escaped(cell) for cell in cells)} |" for cells in table(scores, verdict, baseline)]
    said = (*conversation_lines(scores), *verdict_lines(scores, verdict, no_baseline, reasons))
    lines += ["", *(f"- {_escaped(line)}" for line in said)]
    for tag, values in scores.tagged().items():
        lines += ["", *_breakdown(scores, tag, values)]
    return "\n".join(lines) + "\n"


def headline(scores: Scores) -> str:
    """Return what was evaluated, in one line."""
    run = scores.run
    named = run["graph"] or run.get("answering")
    graph = f", graph {named}" if named else ""
    return f"{run['dataset']} with {run['model']} ({run['place']}{graph}), {len(scores.rows)} rows"


def table(
    scores: Scores, verdict: Verdict | None, baseline: Baseline | None
) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield mark, name, value, baseline, limit and rows of each metric, also of metrics that only the baseline has."""
    found = scores.metrics()
    failed = verdict.failed_metrics if verdict else []
    names = [*found, *(name for name in (baseline.metrics if baseline else {}) if name not in found)]
    for name in names:
        value, count = found.get(name, (None, 0))
        before = verdict.baseline.get(name) if verdict else None
        mark = "FAIL" if name in failed else "ok" if verdict and name in verdict.checked else ""
        yield mark, name, number(name, value), number(name, before), _limit(name, verdict, baseline), str(count)


def conversation_lines(scores: Scores) -> Iterator[str]:
    """Yield lines about the simulated conversations, if there are any."""
    if scores.conversations:
        said = [f"{name} {value:.3f} of {count}" for name, (value, count) in means(scores.conversations).items()]
        yield f"{len(scores.conversations)} simulated conversations: {', '.join(said) or 'none of them was judged'}"
    for one in scores.conversations:
        for name, error in one["errors"].items():
            yield f"ERROR in the conversation about {one['row']}: {name}: {error}"


def verdict_lines(
    scores: Scores,
    verdict: Verdict | None,
    no_baseline: str = NO_BASELINE,
    reasons: Mapping[str, str] = NO_REASONS,
) -> Iterator[str]:
    """Yield lines about the verdict. Without one, yield those about the rows that fail, and `no_baseline`."""
    if verdict is None:
        yield from failing_lines(scores, reasons)
        yield no_baseline
        return
    for failure in verdict.failures:
        yield f"FAIL {failure.metric} {failure.message}"
    for word, moved in (("Regressed", verdict.regressed), ("Fixed", verdict.fixed)):
        if moved:
            yield f"{word}: {_rows(moved)}"
        if word == "Regressed":
            yield from _why(moved, reasons)
    failed = ", ".join(verdict.failed_metrics)
    yield f"The gate failed: {failed}." if failed else "The gate passed."


def failing_lines(scores: Scores, reasons: Mapping[str, str] = NO_REASONS) -> Iterator[str]:
    """Yield the rows that fail an expectation, with its figures. A first baseline would accept them as they are."""
    failed = {name: figures for name, row in scores.rows.items() if (figures := failing(row))}
    if failed:
        yield f"Failing: {_rows(failed)}"
        yield from _why(failed, reasons)
    if any("declined_when_must" in figures for figures in failed.values()):
        yield (
            "declined_when_must knows the usual English wordings. If an answer declines in other words, "
            "add them to the expectations of its row as declines_with, or pass --declines-with for all rows."
        )


def _why(names: Iterable[str], reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield the reasons of the first rows that have one. The report has those of all rows."""
    for name in list(names)[:MOST_ROWS]:
        if name in reasons:
            yield f"  {name}: {reasons[name]}"


def _rows(figures_of: Mapping[str, Sequence[str]]) -> str:
    """Return the first rows, each with its figures."""
    rows = [f"{name} ({', '.join(figures)})" for name, figures in list(figures_of.items())[:MOST_ROWS]]
    more = f" and {len(figures_of) - MOST_ROWS} more" if len(figures_of) > MOST_ROWS else ""
    return f"{'; '.join(rows)}{more}"


def _breakdown(scores: Scores, tag: str, values: dict[str, list[str]]) -> Iterator[str]:
    by_value = {value: scores.metrics(ids) for value, ids in values.items()}
    names = [name for name in scores.metrics() if any(name in found for found in by_value.values())]
    yield f"| {_escaped(tag)} | {' | '.join(_escaped(value) for value in by_value)} |"
    yield f"|---|{'---|' * len(by_value)}"
    for name in names:
        cells = [number(name, found[name][0]) if name in found else "" for found in by_value.values()]
        yield f"| {name} | {' | '.join(cells)} |"


def _limit(name: str, verdict: Verdict | None, baseline: Baseline | None) -> str:
    """Return the rule that the metric breaks, or else its floor or ceiling."""
    broken = [failure.kind for failure in verdict.failures if failure.metric == name] if verdict else []
    limit = baseline.metrics.get(name) if baseline else None
    if limit is None:
        return "in baseline" if "new" in broken else ""
    if "floor" not in broken and "ceiling" not in broken:
        if "drop" in broken:
            return f"drop <= {limit.max_drop:g}" if limit.max_drop else "no drop"
        if "missing" in broken:
            return "every row"
    if limit.ceiling is not None:
        return f"<= {number(name, limit.ceiling)}"
    return "" if limit.floor is None else f">= {number(name, limit.floor)}"


def number(name: str, value: float | None) -> str:
    """Format a metric's value in its unit; empty if there is no value."""
    if value is None:
        return ""
    unit = metric(name).unit
    return f"{value:.2f} s" if unit == "s" else f"{value:.0f}" if unit else f"{value:.3f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")

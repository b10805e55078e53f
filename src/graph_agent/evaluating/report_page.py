"""The report as one HTML page, light and dark, without scripts or other files. Markup in a row is shown as text."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from graph_agent.evaluating.baseline import Baseline
from graph_agent.evaluating.bootstrap import share_interval
from graph_agent.evaluating.charts import bar, histogram
from graph_agent.evaluating.gate import Verdict
from graph_agent.evaluating.metrics import METRICS, metric
from graph_agent.evaluating.records import Record
from graph_agent.evaluating.report import NO_BASELINE, headline, number, table
from graph_agent.evaluating.report_rows import listed, listed_conversations
from graph_agent.evaluating.rows import Row
from graph_agent.evaluating.scores import Scores
from graph_agent.markup import Html, element, joined

STYLE = Path(__file__).with_name("page.css")
MOST_TAG_VALUES = 12
"""A tag with more values than this identifies single rows, not kinds of rows. It is left out."""

# A second line of defense: if markup from an answer got into the page, it could not load or run anything.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
)


def page(
    scores: Scores,
    verdict: Verdict | None,
    baseline: Baseline | None,
    *,
    rows: Sequence[Row],
    records: Sequence[Record],
    no_baseline: str = NO_BASELINE,
) -> str:
    """Return the whole page. Without a verdict it shows `no_baseline`."""
    title = f"Evaluation: {headline(scores)}"
    body = joined(
        element("h1", title),
        element("p", _of(scores), class_="note"),
        _verdict(verdict, no_baseline),
        element("h2", "Metrics"),
        element(
            "p",
            "Bar: value. Solid tick: baseline over the same rows. Dashed tick: floor or ceiling. "
            "Thin line: 95% interval of the mean. Bars of seconds and tokens are shares of their ceiling. Without a "
            "ceiling they only show the value, and are gray.",
            class_="note",
        ),
        _metrics(scores, verdict, baseline),
        element("h2", "Time"),
        element("p", "For each row, by the clock of the runner. Solid ticks: p50 and p95.", class_="note"),
        _times(scores),
        *_tags(scores),
        *listed(
            scores, verdict, baseline, rows={row.id: row for row in rows}, records={one.id: one for one in records}
        ),
        *listed_conversations(scores.conversations),
    )
    head = joined(Html(HEAD), element("title", title), element("style", Html(STYLE.read_text(encoding="utf-8"))))
    return f'<!doctype html>\n<html lang="en">{element("head", head)}{element("body", body)}</html>\n'


def _of(scores: Scores) -> str:
    run = scores.run
    said = [f"Started {run['began']}", f"version {run['version']}", f"dataset {run['dataset_digest']}"]
    said += ["a sample of the rows"] if run["sample"] else []
    said += [f"judged by {run['judge']}", f"MLflow run {run['mlflow_run']}"] if "judge" in run else []
    return ", ".join(said)


def _verdict(verdict: Verdict | None, no_baseline: str) -> Html:
    if verdict is None:
        return element("div", no_baseline, class_="verdict")
    if verdict.passed:
        said = f"{len(verdict.checked)} metrics were compared with the baseline."
        return element("div", element("span", "The gate passed.", class_="good"), " ", said, class_="verdict open")
    reasons = [element("li", element("code", one.metric), " ", one.message) for one in verdict.failures]
    return element(
        "div", element("span", "The gate failed.", class_="bad"), element("ul", *reasons), class_="verdict shut"
    )


def _metrics(scores: Scores, verdict: Verdict | None, baseline: Baseline | None) -> Html:
    found = scores.metrics()
    before = verdict.baseline if verdict else {}
    lines = []
    for mark, name, value, then, limit, count in table(scores, verdict, baseline):
        values = [v for row in scores.rows.values() if (v := row.values.get(metric(name).figure)) is not None]
        plot, between = _plot(name, found.get(name, (None, 0))[0], values, before.get(name), baseline, mark == "FAIL")
        shown = element("span", mark, class_="bad" if mark == "FAIL" else "good") if mark else ""
        cells = [element("td", shown), element("td", element("code", name)), element("td", plot)]
        lines.append(element("tr", *cells, *(_right(cell) for cell in (value, then, between, limit, count))))
    titles = [element("th", text) for text in ("", "Metric", "")]
    titles += [element("th", text, class_="number") for text in ("Value", "Baseline", "95% interval", "Limit", "Rows")]
    return _scrolling(element("table", element("tr", *titles), *lines))


def _plot(
    name: str,
    value: float | None,
    values: Sequence[float],
    before: float | None,
    baseline: Baseline | None,
    failed: bool,
) -> tuple[Html, str]:
    """Return the bar of a metric, and its interval in words if it has one."""
    limits = baseline.metrics.get(name) if baseline else None
    if metric(name).unit:
        ceiling = limits.ceiling if limits else None
        most = max(ceiling or 0.0, value or 0.0, before or 0.0) or 1.0
        # Without a ceiling the longest bar is the largest value, which is neither good nor bad.
        return bar(value, most=most, before=before, limit=ceiling, failed=failed, judged=ceiling is not None), ""
    if not values or max(values) > 1 or min(values) < 0:
        return bar(value, most=max([1.0, *values]), before=before, failed=failed), ""
    low, high = share_interval(values)
    plot = bar(value, before=before, interval=(low, high), limit=limits.floor if limits else None, failed=failed)
    return plot, f"{low:.2f} to {high:.2f}"


def _times(scores: Scores) -> Html:
    figures = []
    for figure, title in (("first_token_seconds", "First token"), ("seconds", "Whole answer")):
        values = [value for row in scores.rows.values() if (value := row.values.get(figure)) is not None]
        if values:
            marks = [(name, METRICS[f"{figure}_{name}"].summed(values)) for name in ("p50", "p95")]
            said = ", ".join(f"{name} {value:.2f} s" for name, value in [*marks, ("slowest", max(values))])
            caption = element("figcaption", element("b", title), f": {said}; {len(values)} rows")
            figures.append(element("figure", caption, histogram(values, marks, unit="s")))
    return element("div", *figures, class_="plots") if figures else element("p", "No row has a time.")


def _tags(scores: Scores) -> Iterator[Html]:
    tagged = {tag: values for tag, values in scores.tagged().items() if 1 < len(values) <= MOST_TAG_VALUES}
    if tagged:
        yield element("h2", "By tag")
    for tag, values in tagged.items():
        yield element("h3", tag)
        yield _scrolling(_breakdown(scores, values))


def _breakdown(scores: Scores, values: Mapping[str, Sequence[str]]) -> Html:
    found = {value: scores.metrics(ids) for value, ids in values.items()}
    heads = [
        element("th", value, element("small", f" {len(ids)} row{'s' * (len(ids) != 1)}"))
        for value, ids in values.items()
    ]
    lines = [element("tr", element("th", ""), *heads)]
    for name, (whole, _) in scores.metrics().items():
        cells = []
        most = max(
            [1.0 if not metric(name).unit else 0.0, whole, *(one[name][0] for one in found.values() if name in one)]
        )
        for one in found.values():
            value, count = one.get(name, (None, 0))
            said = element("span", number(name, value), element("small", f" of {count}"), class_="value")
            plain = bar(value, most=most, judged=not metric(name).unit)
            cells.append(element("td", said, plain) if count else element("td", ""))
        lines.append(element("tr", element("td", element("code", name)), *cells))
    return element("table", *lines, class_="breakdown")


def _right(text: str) -> Html:
    return element("td", text, class_="number")


def _scrolling(inner: Html) -> Html:
    return element("div", inner, class_="scroll")

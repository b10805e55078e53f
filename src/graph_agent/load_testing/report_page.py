"""The report of a load test as one HTML page, light and dark, without scripts or other files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from graph_agent.load_testing.figures import Figures
from graph_agent.load_testing.gate import named
from graph_agent.load_testing.histogram import Histogram
from graph_agent.load_testing.plots import Series, by_step, distribution, legend, over_time
from graph_agent.load_testing.report import (
    LATE,
    PERCENTS,
    Report,
    errors_of,
    hint_of,
    percentiles,
    rate,
    seconds,
)
from graph_agent.markup import Html, element, joined

STYLE = Path(__file__).with_name("page.css")

# The page loads and runs nothing, whatever a service called its errors.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
HEAD = (
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
)
LINES = (50, 95, 99)
"""The percentiles that the plots show."""

FEW = 20
"""Fewer answers than this have no percentile 95 of their own."""

TIMES = (
    ("First token", "first_text", "From sending the question to the first text of the answer."),
    ("Whole answer", "total", "From sending the question to the end of the answer."),
    ("Gap between pieces", "gaps", "Between two pieces of text of an answer. Pieces that arrive together have no gap."),
    ("Longest gap", "longest_gaps", "The longest pause in the text of each answer, which a reader sees as a stall."),
)


def page(report: Report) -> str:
    """Return the whole page."""
    result = report.result
    whole = result.whole
    title = f"Load test of {report.address.host}: {whole.answered} answers, {whole.failed} errors"
    users = [step.users for step in result.steps]
    body = joined(
        element("h1", title),
        element("p", _what(report), class_="note"),
        *_verdict(report),
        element("h2", "Steps"),
        _scrolling(_steps(result.steps)),
        element("h2", "By users"),
        element(
            "div",
            *(_figure(f"{name} (p50, p95, p99)", _times(result.steps, of, users), LINES) for name, of, _ in TIMES[:2]),
            *_throughput(result.steps, users),
            _figure("Gap between pieces (p50, p95, p99)", _times(result.steps, "gaps", users), LINES),
            class_="plots",
        ),
        element("h2", "Over time"),
        element(
            "figure",
            element("figcaption", f"First token, in slices of {result.timeline.width:g} s"),
            over_time(result.timeline),
            legend(["p50", "p95"], ("users", "users"), ("failed", "errors")),
        ),
        element("h2", "Distribution"),
        element("div", *_distributions(whole), class_="plots"),
        element("h2", "All percentiles"),
        *_percentiles(result.steps),
        element("h2", "Errors"),
        *_errors(result.steps, whole),
        element("h2", "How this was measured"),
        element("ul", *(element("li", one) for one in _method(report)), class_="note"),
    )
    head = joined(Html(HEAD), element("title", title), element("style", Html(STYLE.read_text(encoding="utf-8"))))
    return f'<!doctype html>\n<html lang="en">{element("head", head)}{element("body", body)}</html>\n'


def _what(report: Report) -> str:
    plan, address = report.plan, report.address
    said = [f"{address.shown}", f"graph {address.graph or 'by default'}", f"began {report.began}"]
    said.append(f"steps of {plan.seconds:g} s, {plan.think:g} s to think, {_questions(len(plan.questions))}")
    said.append("answers stored" if address.stored else "answers not stored")
    return ", ".join(said)


def _questions(count: int) -> str:
    return f"{count} question{'s' * (count != 1)}"


def _verdict(report: Report) -> Iterator[Html]:
    failures = report.failures
    if failures:
        reasons = element("ul", *(element("li", one) for one in failures))
        yield element("div", element("b", "The limits were not kept."), reasons, class_="verdict shut")
    elif not report.gate.is_open:
        yield element("div", element("b", "All limits were kept."), class_="verdict open")
    if report.result.stopped:
        yield element("div", "The test was stopped before its end. This is what it had found.", class_="verdict late")
    if report.result.is_late:
        yield element("div", LATE, class_="verdict late")


def _steps(steps: Sequence[Figures]) -> Html:
    heads = ["Users", "Answers", "Errors", "Answers/s", "Tokens/s", "First token p50", "p95", "p99"]
    heads += ["Whole answer p50", "p95", "p99", "Longest gap p95"]
    rows = []
    for step in steps:
        cells = [str(step.users), str(step.answered), _share(step), rate(step.rate(step.answered))]
        cells.append(rate(step.rate(step.output_tokens)) if step.output_tokens else "-")
        cells += [seconds(one) for times in (step.first_text, step.total) for one in percentiles(times, LINES)]
        cells.append(seconds(step.longest_gaps.percentile(95)))
        rows.append(element("tr", *(element("td", cell) for cell in cells)))
    return element("table", element("tr", *(element("th", head) for head in heads)), *rows)


def _share(step: Figures) -> str:
    return f"{step.failed} ({step.failed_share * 100:.3g}%)" if step.failed else "0"


def _times(steps: Sequence[Figures], of: str, users: Sequence[int]) -> Html:
    found = [percentiles(getattr(step, of), LINES) for step in steps]
    series = [Series(f"p{percent}", [one[place] for one in found]) for place, percent in enumerate(LINES)]
    return by_step(series, users, is_time=True)


def _figure(caption: str, plot: Html, percents: Sequence[int]) -> Html:
    return element("figure", element("figcaption", caption), plot, legend([f"p{one}" for one in percents]))


def _throughput(steps: Sequence[Figures], users: Sequence[int]) -> Iterator[Html]:
    answers = Series("answers per second", [step.rate(step.answered) for step in steps])
    yield element("figure", element("figcaption", "Answers per second"), by_step([answers], users, is_time=False))
    if any(step.output_tokens for step in steps):
        tokens = Series("tokens per second", [step.rate(step.output_tokens) for step in steps])
        plot = by_step([tokens], users, is_time=False)
        yield element("figure", element("figcaption", "Output tokens per second"), plot)


def _distributions(whole: Figures) -> Iterator[Html]:
    for name, of, _ in TIMES[:2]:
        times: Histogram = getattr(whole, of)
        marks = [(f"p{one}", value) for one in LINES if (value := times.percentile(one)) is not None]
        if marks:
            yield element("figure", element("figcaption", f"{name}, all steps"), distribution(times, marks))
        else:
            yield element("p", f"{name}: no answers.")


def _percentiles(steps: Sequence[Figures]) -> Iterator[Html]:
    for name, of, meaning in TIMES:
        heads = ["Users", "Count", "Mean", *(f"p{one}" for one in PERCENTS), "Longest"]
        rows = [element("tr", *(element("th", head) for head in heads))]
        for step in steps:
            times: Histogram = getattr(step, of)
            cells = [seconds(times.mean()), *map(seconds, percentiles(times))]
            cells.append(seconds(times.most if times.count else None))
            rows.append(element("tr", *(element("td", one) for one in (str(step.users), str(times.count), *cells))))
        yield element("h3", name)
        yield element("p", meaning, class_="note")
        yield _scrolling(element("table", *rows))


def _errors(steps: Sequence[Figures], whole: Figures) -> Iterator[Html]:
    if not whole.errors:
        yield element("p", "There were no errors.")
        return
    heads = [element("th", "Error", class_="text"), *(element("th", named(step)) for step in steps)]
    rows = [element("tr", *heads, element("th", "All"), element("th", "Meaning", class_="text"))]
    for kind, count in errors_of(whole):
        cells = [element("td", str(step.errors.get(kind, 0))) for step in steps]
        said = element("td", element("code", kind), class_="text")
        rows.append(
            element("tr", said, *cells, element("td", str(count)), element("td", hint_of(kind) or "", class_="text"))
        )
    yield _scrolling(element("table", *rows))


def _method(report: Report) -> Iterator[str]:
    plan, result = report.plan, report.result
    yield (
        "Each user waits for its answer, thinks, and asks again. So a slow service is asked less often, and the load "
        "is the number of users, not a number of questions per second."
    )
    yield (
        f"A user thinks from {plan.think * 0.5:g} to {plan.think * 1.5:g} s. After an error it waits for at least 1 s, "
        "and for as long as the service asks with Retry-After, up to 60 s."
    )
    yield "An answer counts in the step in which it was asked. New users of a step begin in its first tenth."
    yield "Percentiles are by the nearest rank, and wrong by at most 1%. The mean and the longest time are exact."
    if few := [named(step) for step in result.steps if 0 < step.answered < FEW]:
        yield f"With {', '.join(few)} there were fewer than {FEW} answers, so p95 and p99 are those of one slow answer."
    yield "Times of the first token and of whole answers are those of answers without an error."
    yield f"Tokens are counted by the service. graph-agent {report.version} asked."
    delay = result.own_delay.percentile(99)
    yield f"This machine was late by {seconds(delay)} (p99) when it wanted to be on time, which is part of all times."
    if unfinished := result.whole.unfinished:
        yield f"{unfinished} answers were under way at the end. They count neither as answers nor as errors."


def _scrolling(inner: Html) -> Html:
    return element("div", inner, class_="scroll")

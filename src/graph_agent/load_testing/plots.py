"""The plots of the report: inline SVG that gets its colors from the style of the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graph_agent.load_testing.figures import Timeline
from graph_agent.load_testing.histogram import Histogram
from graph_agent.load_testing.report import rate, seconds
from graph_agent.markup import Html, element, joined

Shown = Callable[[float], str]
"""Writes a value of a scale."""

WIDTH, HEIGHT = 560, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 40
BINS = 48
FROM, TO = LEFT, WIDTH - RIGHT
BASE = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot. `None` is a gap in it."""

    name: str
    values: Sequence[float | None]


def by_step(series: Sequence[Series], users: Sequence[int], *, is_time: bool) -> Html:
    """Draw values over the steps of the test. Values are seconds, or numbers for each second."""
    shown = seconds if is_time else rate
    most = _most(series)
    step = (TO - FROM) / max(len(users), 1)
    places = [FROM + step * (number + 0.5) for number in range(len(users))]
    every = math.ceil(len(users) / 12)
    marks = [_text(places[at], BASE + 15, str(users[at]), "middle") for at in range(0, len(users), every)]
    title = _text((FROM + TO) / 2, HEIGHT - 6, "users at a time", "middle")
    lines = [
        _line(one, places, most, number, [str(count) for count in users], shown) for number, one in enumerate(series)
    ]
    return _plot(_described(series, users, shown), *_rules(most, shown), *marks, title, *lines)


def over_time(timeline: Timeline) -> Html:
    """Draw the time to the first text over the test, with the users as an area and the errors as bars."""
    slices, width = timeline.slices, timeline.width
    step = (TO - FROM) / max(len(slices), 1)
    places = [FROM + step * (number + 0.5) for number in range(len(slices))]
    series = [
        Series("p50", [one.first_text.percentile(50) for one in slices]),
        Series("p95", [one.first_text.percentile(95) for one in slices]),
    ]
    most = _most(series)
    users = max((one.users for one in slices), default=0) or 1
    failed = max((one.failed for one in slices), default=0)
    outline = [f"{FROM},{BASE}"]
    for number, one in enumerate(slices):
        y = _y(one.users, users)
        outline += [f"{FROM + step * number:.1f},{y:.1f}", f"{FROM + step * (number + 1):.1f},{y:.1f}"]
    area = element(
        "polygon",
        element("title", f"users, at most {users}"),
        points=" ".join([*outline, f"{TO},{BASE}"]),
        class_="users",
    )
    bars = [
        element(
            "rect",
            element("title", f"{one.failed} errors at {number * width:g} s"),
            x=round(FROM + step * number, 1),
            y=round(BASE - 44 * one.failed / failed, 1),
            width=round(max(step * 0.8, 1.0), 1),
            height=round(44 * one.failed / failed, 1),
            class_="failed",
        )
        for number, one in enumerate(slices)
        if one.failed
    ]
    marks = [
        _text(FROM + (TO - FROM) * at / 4, BASE + 15, _clock(len(slices) * width * at / 4), "middle") for at in range(5)
    ]
    title = _text((FROM + TO) / 2, HEIGHT - 6, "time of the test", "middle")
    names = [_clock(number * width) for number in range(len(slices))]
    lines = [_line(one, places, most, number, names, seconds) for number, one in enumerate(series)]
    said = f"Time to the first text over {_clock(len(slices) * width)}, with at most {users} users"
    return _plot(said, area, *bars, *_rules(most, seconds), *marks, title, *lines)


def distribution(times: Histogram, marks: Sequence[tuple[str, float]]) -> Html:
    """Draw how many answers took how long. The scale of time is logarithmic."""
    least = max(times.least, 0.0005) if times.count else 0.001
    low, high = math.log10(least * 0.9), math.log10(max(times.most, least) * 1.1)
    counts = [0] * BINS
    for middle, count in times.buckets():
        place = (math.log10(max(middle, least)) - low) / (high - low)
        counts[min(BINS - 1, max(0, int(place * BINS)))] += count
    tallest, step = max(counts) or 1, (TO - FROM) / BINS
    bars = [
        element(
            "rect",
            element("title", f"{count} answers around {seconds(10 ** (low + (high - low) * (place + 0.5) / BINS))}"),
            x=round(FROM + step * place + 0.5, 1),
            y=round(_y(count, tallest), 1),
            width=round(step - 1, 1),
            height=round(BASE - _y(count, tallest), 1),
            class_="bar",
        )
        for place, count in enumerate(counts)
        if count
    ]
    drawn = []
    for number, (name, value) in enumerate(marks):
        x = FROM + (TO - FROM) * (math.log10(max(value, least)) - low) / (high - low)
        drawn.append(element("line", x1=round(x, 1), x2=round(x, 1), y1=TOP, y2=BASE, class_=f"mark s{number}"))
        # Names of lines near the right edge would be cut off.
        at, anchor = (x - 3, "end") if x > TO - 40 else (x + 3, "start")
        drawn.append(_text(at, TOP + 9 + 11 * number, name, anchor))
    ticks = [
        _text(FROM + (TO - FROM) * (math.log10(value) - low) / (high - low), BASE + 15, seconds(value), "middle")
        for value in _decades(10**low, 10**high)
    ]
    title = _text((FROM + TO) / 2, HEIGHT - 6, "seconds, on a logarithmic scale", "middle")
    said = f"{times.count} answers; " + ", ".join(f"{name} {seconds(value)}" for name, value in marks)
    return _plot(said, *_rules(tallest, rate), *bars, *drawn, *ticks, title)


def legend(names: Sequence[str], *more: tuple[str, str]) -> Html:
    """Name the lines of a plot by their color. `more` are pairs of a class and a name."""
    pairs = [*((f"s{number}", name) for number, name in enumerate(names)), *more]
    return element(
        "p", *(joined(element("span", "", class_=f"key {kind}"), f"{name} ") for kind, name in pairs), class_="legend"
    )


def _plot(label: str, *parts: str) -> Html:
    axis = element("line", x1=FROM, x2=TO, y1=BASE, y2=BASE, class_="axis")
    return element(
        "svg",
        joined(element("title", label), *parts, axis),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )


def _line(one: Series, places: Sequence[float], most: float, number: int, names: Sequence[str], shown: Shown) -> Html:
    parts, run = [], ""
    for place, value in zip(places, one.values, strict=True):
        if value is None:
            run = ""
            continue
        run = f"{'L' if run else 'M'}{place:.1f},{_y(value, most):.1f}"
        parts.append(run)
    dots = [
        element(
            "circle",
            element("title", f"{name}: {one.name} {shown(value)}"),
            cx=round(place, 1),
            cy=round(_y(value, most), 1),
            r=3 if len(places) <= 40 else 1.5,
            class_=f"dot s{number}",
        )
        for place, name, value in zip(places, names, one.values, strict=True)
        if value is not None
    ]
    return element("g", element("path", d=" ".join(parts) or "M0,0", class_=f"line s{number}"), *dots)


def _rules(most: float, shown: Shown) -> list[Html]:
    """Horizontal lines at round values, with their values."""
    step = _round_up(most / 5)
    drawn = []
    for value in (step * number for number in range(math.floor(most / step) + 1)):
        y = round(_y(value, most), 1)
        drawn.append(element("line", x1=FROM, x2=TO, y1=y, y2=y, class_="rule"))
        drawn.append(_text(LEFT - 6, y + 3.5, shown(value) if value else "0", "end"))
    return drawn


def _described(series: Sequence[Series], users: Sequence[int], shown: Shown) -> str:
    ends = (f"{one.name} {shown(value)}" for one in series if one.values and (value := one.values[-1]) is not None)
    return f"With {users[-1] if users else 0} users: {', '.join(ends)}"


def _most(series: Sequence[Series]) -> float:
    return max((value for one in series for value in one.values if value is not None), default=0.0) or 1.0


def _y(value: float, most: float) -> float:
    return BASE - (BASE - TOP) * value / most


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return element("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor)


def _round_up(value: float) -> float:
    """The next number of the form 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * 0.999)


def _decades(low: float, high: float) -> list[float]:
    """Round values of a logarithmic scale."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 1.5, 2, 3, 5, 7) if high / low < 12 else (1, 2, 5) if high / low < 200 else (1,)
    return [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]


def _clock(value: float) -> str:
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.3g} min" if value < 7_200 else f"{value / 3_600:.3g} h"

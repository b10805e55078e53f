"""The charts of the HTML report: inline SVG that gets its colors from the style of the page."""

from collections.abc import Sequence

from graph_agent.markup import Html, element, joined

WIDTH, HEIGHT = 220, 18
BINS = 20
PLOT_WIDTH, PLOT_HEIGHT, FOOT = 520, 120, 18


def bar(
    value: float | None,
    *,
    most: float = 1.0,
    before: float | None = None,
    interval: tuple[float, float] | None = None,
    limit: float | None = None,
    failed: bool = False,
    judged: bool = True,
) -> Html:
    """Draw one value from 0 to `most` as a bar.

    A tick marks the baseline, a dashed tick the limit, and a line the interval. A value with `judged=False` is neither
    good nor bad, because it has no limit. Its bar is gray.
    """
    kind = "fill plain" if not judged else "fill bad" if failed else "fill"
    label = "no value" if value is None else f"{value:.3g} of {most:.3g}" if judged else f"{value:.3g}"
    if before is not None:
        label += f", baseline {before:.3g}"
    parts = [_box(0, 4, WIDTH, 10, "track")]
    if value is not None:
        parts.append(_box(0, 4, _x(value, most), 10, kind))
    if interval is not None:
        low, high = (_x(end, most) for end in interval)
        parts.append(_line(low, 9, high, 9, "whisker"))
        parts += [_line(end, 6, end, 12, "whisker") for end in (low, high)]
    if limit is not None:
        parts.append(_line(_x(limit, most), 1, _x(limit, most), 17, "limit"))
    if before is not None:
        parts.append(_line(_x(before, most), 1, _x(before, most), 17, "before"))
    return _svg(WIDTH, HEIGHT, label, *parts)


def histogram(values: Sequence[float], marks: Sequence[tuple[str, float]], *, unit: str) -> Html:
    """Draw the distribution of values that are at least 0, with a line at each mark."""
    # `or 1.0`: if all values are 0, the scale must not be 0.
    most = max([*values, *(value for _, value in marks)], default=0.0) or 1.0
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(value / most * BINS))] += 1
    tallest, step = max(counts) or 1, PLOT_WIDTH / BINS
    parts = []
    for place, count in enumerate(counts):
        height = (PLOT_HEIGHT - 14) * count / tallest
        if count:
            parts.append(_box(place * step + 1, PLOT_HEIGHT - height, step - 2, height, "fill"))
            parts.append(_label(place * step + step / 2, PLOT_HEIGHT - height - 3, str(count), "middle"))
    parts.append(_line(0, PLOT_HEIGHT, PLOT_WIDTH, PLOT_HEIGHT, "axis"))
    for place in range(5):
        x = PLOT_WIDTH * place / 4
        anchor = "start" if place == 0 else "end" if place == 4 else "middle"
        parts.append(_label(x, PLOT_HEIGHT + 14, f"{most * place / 4:.3g} {unit}", anchor))
    for _, value in marks:
        x = value / most * PLOT_WIDTH
        parts.append(_line(x, 0, x, PLOT_HEIGHT, "before"))
    label = "; ".join([f"{len(values)} rows", *(f"{name} {value:.3g} {unit}" for name, value in marks)])
    return _svg(PLOT_WIDTH, PLOT_HEIGHT + FOOT, label, *parts)


def _svg(width: int, height: int, label: str, *parts: str) -> Html:
    inner = joined(element("title", label), *parts)
    return element("svg", inner, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img")


def _x(value: float, most: float) -> float:
    return round(max(0.0, min(1.0, value / most if most else 0.0)) * WIDTH, 1)


def _box(x: float, y: float, width: float, height: float, kind: str) -> Html:
    return element("rect", x=round(x, 1), y=round(y, 1), width=round(width, 1), height=round(height, 1), class_=kind)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    return element("line", x1=round(x1, 1), y1=y1, x2=round(x2, 1), y2=y2, class_=kind)


def _label(x: float, y: float, text: str, anchor: str) -> Html:
    return element("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor)

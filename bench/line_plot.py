"""Draws lines over a few counts, such as streams or passages, as SVG for the documentation."""

from collections.abc import Sequence
from dataclasses import dataclass

GRAY = "#8a8f98"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 320, 70, 40, 30, 150
SPARE = 1.08
"""Room above the largest value."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line with a value for each count."""

    label: str
    color: str
    values: Sequence[float]
    dashed: bool = False


def line_plot(*, title: str, over: str, along: str, counts: Sequence[int], lines: Sequence[Line]) -> str:
    """Draw the lines. `over` names the values and `along` the counts, which are equally far from each other."""
    most = max(value for line in lines for value in line.values) * SPARE

    def place(number: int, value: float) -> tuple[float, float]:
        x = LEFT + number / max(len(counts) - 1, 1) * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - value / most * (HEIGHT - BOTTOM - TOP)

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{GRAY}" role="img">',
        f"<title>{title}</title>",
        f'<text x="{LEFT}" y="18">{over}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 4}">{along}</text>',
    ]
    for step in range(5):
        y = HEIGHT - BOTTOM - step / 4 * (HEIGHT - BOTTOM - TOP)
        drawn.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="{GRAY}" stroke-opacity=".3"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{most / 4 * step:,.0f}</text>')
    for number, count in enumerate(counts):
        x, _ = place(number, 0)
        drawn.append(f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{count:,}</text>')
    for line in lines:
        points = [place(number, value) for number, value in enumerate(line.values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if line.dashed else ""
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{line.color}" stroke-width="2"{dashes}/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.color}"/>' for x, y in points]
        x, y = points[-1]
        drawn.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{line.color}">{line.label}</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"

"""Tells tables of data from tables that only lay out a page."""

from collections.abc import Sequence
from typing import Any

PARTS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "pre", "form", "nav", "article", "main"})
"""Elements that occur in the cells of layout tables but not in those of data tables."""

CELL_CHARACTERS = 400
"""A cell with more text is a part of the page, or reads better as a paragraph."""


def grids(page: Any) -> set[Any]:
    """The tables of data: they have at least two columns, short cells, and no table inside."""
    around: set[Any] = set()
    for table in page.iter("table"):
        above = next(table.iterancestors("table"), None)
        # Only the nearest table is added. It comes earlier in the page's order, so its own ancestors are in already.
        if above is not None:
            around.add(above)
    return {table for table in page.iter("table") if table not in around and is_grid(table)}


def is_grid(table: Any) -> bool:
    # ARIA: the author says that the table is only for layout.
    if table.get("role") in ("presentation", "none"):
        return False
    rows = widest = width = characters = 0
    for tag in table.iter():
        if tag.tag in PARTS:
            return False
        if tag.tag == "tr":
            rows, width = rows + 1, 0
        elif tag.tag in ("td", "th"):
            width, characters = width + 1, 0
            widest = max(widest, width)
        # Text is counted per cell, up to the next cell's start, so that one pass over the table is enough.
        characters += len(tag.text or "") + (len(tag.tail or "") if tag is not table else 0)
        if characters > CELL_CHARACTERS and widest:
            return False
    return rows > 0 and widest > 1


def pipe_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table with the first row as its header."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows if any(row)]
    return "\n".join([*lines[:1], "|---" * max(map(len, rows)) + "|", *lines[1:]]) if lines else ""

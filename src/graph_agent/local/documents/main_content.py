"""What of a page is its main content, as trafilatura sees it.

Every text node gets a number in front, in letters that no page holds; what comes out of the extractor tells by these
which nodes it took. So the page's own structure stays: headings with ids, code with its blanks, tables.
"""

import logging
import re
from copy import deepcopy
from typing import Any

from lxml import etree

MOST_TEXT_NODES = 100_000
"""On larger pages the extractor takes minutes; they are taken whole."""

DIGITS = "".join(chr(0x10380 + digit) for digit in range(16))
SIGN = chr(0x10390)
NUMBER = re.compile(f"{SIGN}([{DIGITS}]{{5}})")


def main_text_nodes(page: Any) -> frozenset[int]:
    """The numbers, from 1 in the page's order, of the text nodes in the main content; empty where none is found."""
    marked = deepcopy(page)
    if mark(marked) > MOST_TEXT_NODES:
        return frozenset()
    body = extracted(marked)
    if body is None:
        return frozenset()
    return frozenset(number(digits) for digits in NUMBER.findall(" ".join(body.itertext())))


def mark(page: Any) -> int:
    count = 0
    for event, tag in etree.iterwalk(page, events=("start", "end")):
        text = tag.text if event == "start" else tag.tail
        if not text or text.isspace():
            continue
        count += 1
        if event == "start":
            tag.text = f"{sign(count)} {text}"
        else:
            tag.tail = f"{sign(count)} {text}"
    return count


def sign(number: int) -> str:
    return SIGN + "".join(DIGITS[number >> shift & 15] for shift in (16, 12, 8, 4, 0))


def number(digits: str) -> int:
    return int("".join(f"{DIGITS.index(digit):x}" for digit in digits), 16)


def extracted(page: Any) -> Any | None:
    # Here, because an index of Markdown alone need not wait for it.
    from trafilatura import bare_extraction

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    try:
        found = bare_extraction(page, include_comments=False, include_tables=True)
    # Whatever a page leads it into: then the page is taken whole.
    except Exception:
        return None
    return getattr(found, "body", None)

"""Finds the main content of a page with trafilatura.

trafilatura returns a simplified copy of the page, without heading ids, whitespace in code, and parts of tables. So
this module uses only its choice: it writes a number before each text node, in characters that no page contains, and
reads from the result which numbers are left. The text itself then comes from the original page.
"""

import logging
import re
from copy import deepcopy
from typing import Any

from lxml import etree

MOST_TEXT_NODES = 100_000
"""On larger pages the extractor takes minutes, so they are read as a whole."""

# Ugaritic letters, which no page is expected to contain.
DIGITS = "".join(chr(0x10380 + digit) for digit in range(16))
SIGN = chr(0x10390)
NUMBER = re.compile(f"{SIGN}([{DIGITS}]{{5}})")


def main_text_nodes(page: Any) -> frozenset[int]:
    """The numbers of the text nodes in the main content, from 1 in the order of the page; empty if none is found."""
    # The extractor changes the tree that it is given.
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
    # Five hexadecimal digits are enough for `MOST_TEXT_NODES`.
    return SIGN + "".join(DIGITS[number >> shift & 15] for shift in (16, 12, 8, 4, 0))


def number(digits: str) -> int:
    return int("".join(f"{DIGITS.index(digit):x}" for digit in digits), 16)


def extracted(page: Any) -> Any | None:
    # Late import: an index of Markdown alone should not wait for it.
    from trafilatura import bare_extraction

    # It logs an error for each page in which it finds nothing. That is normal here and not worth a line.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    try:
        found = bare_extraction(page, include_comments=False, include_tables=True)
    except Exception:  # noqa: BLE001 - it raises anything for a malformed page, which is then read as a whole
        return None
    return getattr(found, "body", None)

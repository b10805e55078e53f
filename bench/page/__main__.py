"""`python -m bench.page`: measures what the page costs its browser, and compares it with the goals.

The exit status is 0 whatever the figures are. It is 1 if nothing could be measured.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import BrowserType, TimeoutError, sync_playwright

from bench.page.answers_page import BuildBroken, build, served
from bench.page.browser import heap, marked, opened
from bench.page.chat_page import measure
from bench.page.rows import Opening, Row, report
from bench.page.trace import work

TOKEN = 4
"""UTF-16 units that stand for a token."""

TOKENS_A_SECOND = 200

PATIENCE = 90
"""How long a document may take beyond the time that it streams, in seconds."""

LONG = "long answer"


def main() -> int:
    """Run the benchmark and return the exit status."""
    options = _options()
    load = os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            build(Path(folder))
            with served(Path(folder)) as url:
                text = _text(playwright.chromium, url, options.tokens)
                rows: list[Row | Opening] = [*_answers(playwright.chromium, url, options)]
            if options.page:
                rows += measure(playwright.chromium, text, rate=TOKENS_A_SECOND * options.factor)
    except (BuildBroken, FileNotFoundError) as broken:
        print(broken, file=sys.stderr)
        return 1
    print(report(rows, factor=options.factor, tokens=options.tokens, load=load))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.page", description="Measure the chat page in a browser.")
    parser.add_argument("--tokens", type=int, default=50_000, help="how long the answers become at most")
    parser.add_argument("--factor", type=float, default=10, help="how many times faster than 200 tokens/s they stream")
    parser.add_argument("--rows", default="", metavar="A,B", help="only documents whose names contain one of these")
    parser.add_argument(
        "--page", action=argparse.BooleanOptionalAction, default=True, help="also measure the whole page with a service"
    )
    return parser.parse_args()


def _text(chromium: BrowserType, url: str, tokens: int) -> str:
    with opened(chromium) as (_, page, _):
        page.goto(url)
        text: str = page.evaluate("(name) => bench.text(name)", LONG)
        return text[: tokens * TOKEN]


def _answers(chromium: BrowserType, url: str, options: argparse.Namespace) -> Iterator[Row]:
    with opened(chromium) as (_, page, _):
        page.goto(url)
        names: list[str] = page.evaluate("bench.names")
    wanted = [part for part in options.rows.split(",") if part]
    rate = TOKEN * TOKENS_A_SECOND * options.factor
    for name in names:
        if wanted and not any(part in name for part in wanted):
            continue
        for speed, most in ((rate, options.tokens * TOKEN), (0, sys.maxsize)):
            row = _answer(chromium, url, name, rate=speed, most=most)
            # As it goes, because all of them take minutes.
            print(row, file=sys.stderr)
            yield row


def _answer(chromium: BrowserType, url: str, name: str, *, rate: float, most: int) -> Row:
    """Stream a document at `rate`, or show it at once with 0."""
    with opened(chromium) as (browser, page, errors):
        page.goto(url)
        length = min(most, len(page.evaluate("(name) => bench.text(name)", name)))
        patience = PATIENCE + (length / rate if rate else 0)
        try:
            with marked(browser, page) as trace:
                page.evaluate("([name, rate, most]) => void bench.show(name, rate, most)", [name, rate, most])
                # No function that the page evaluates, because its policy allows no evaluation of text.
                page.wait_for_selector("html[data-done]", state="attached", timeout=patience * 1000)
        except TimeoutError:
            stuck = f"not done after {patience:.0f} s"
            return Row(name=name, streamed=rate > 0, length=length, errors=(stuck, *errors))
        return Row(
            name=name,
            streamed=rate > 0,
            length=length,
            work=work(trace()),
            heap=heap(page),
            elements=page.evaluate("document.getElementsByTagName('*').length"),
            errors=tuple(errors),
        )


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.page`: measures what the page costs its browser, and compares it with the goals.

The exit status is 0 whatever the figures are. It is 1 if nothing could be measured.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserType, Page, TimeoutError, sync_playwright

from bench.page.answers_page import BuildBroken, build, served
from bench.page.browser import browser_path
from bench.page.rows import Row, report
from bench.page.trace import CATEGORIES, work

TOKEN = 4
"""UTF-16 units that stand for a token."""

TOKENS_A_SECOND = 200

PATIENCE = 90
"""How long a document may take beyond the time that it streams, in seconds."""


def main() -> int:
    """Run the benchmark and return the exit status."""
    options = _options()
    load = os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            build(Path(folder))
            with served(Path(folder)) as url:
                rows = [*_answers(playwright.chromium, url, options)]
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
    return parser.parse_args()


def _answers(chromium: BrowserType, url: str, options: argparse.Namespace) -> Iterator[Row]:
    with _browser(chromium) as browser:
        page = browser.new_page()
        page.goto(url)
        names: list[str] = page.evaluate("bench.names")
    wanted = [part for part in options.rows.split(",") if part]
    rate = TOKEN * TOKENS_A_SECOND * options.factor
    for name in names:
        if wanted and not any(part in name for part in wanted):
            continue
        print(name, file=sys.stderr)
        yield _answer(chromium, url, name, rate=rate, most=options.tokens * TOKEN)
        yield _answer(chromium, url, name, rate=0, most=sys.maxsize)


@contextmanager
def _browser(chromium: BrowserType) -> Iterator[Browser]:
    browser = chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
    try:
        yield browser
    finally:
        browser.close()


def _answer(chromium: BrowserType, url: str, name: str, *, rate: float, most: int) -> Row:
    """Stream a document at `rate`, or show it at once with 0. In a browser of its own, which a document may stop."""
    with _browser(chromium) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        length = min(most, page.evaluate("(name) => bench.length(name)", name))
        browser.start_tracing(page=page, categories=CATEGORIES)
        page.evaluate("([name, rate, most]) => void bench.show(name, rate, most)", [name, rate, most])
        patience = PATIENCE + (length / rate if rate else 0)
        try:
            page.wait_for_selector("html[data-done]", state="attached", timeout=patience * 1000)
        except TimeoutError:
            return Row(
                name=name, streamed=rate > 0, length=length, errors=(f"not done after {patience:.0f} s", *errors)
            )
        return Row(
            name=name,
            streamed=rate > 0,
            length=length,
            work=work(browser.stop_tracing()),
            heap=heap(page),
            elements=page.evaluate("document.getElementsByTagName('*').length"),
            errors=tuple(errors),
        )


def heap(page: Page) -> float:
    """The JavaScript heap after a collection, in MB."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    used: float = session.send("Runtime.getHeapUsage")["usedSize"]
    return used / 1e6


if __name__ == "__main__":
    sys.exit(main())

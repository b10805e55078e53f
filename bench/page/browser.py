"""The browser of the machine, and what is measured in it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, BrowserType, Page

from bench.page.trace import BEGIN, CATEGORIES, END, FRAME

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
"""Commands of browsers that Playwright can drive. `BROWSER_PATH` names another one."""

# Marks each frame in the browser's trace, and keeps frames coming.
_FRAMES = f"""
(function frame() {{
    performance.mark("{FRAME}");
    performance.clearMarks("{FRAME}");
    requestAnimationFrame(frame);
}})();
"""


def browser_path() -> str:
    """The browser that the benchmark and the tests of the page drive.

    Raises:
        FileNotFoundError: there is none; the message says what to install.
    """
    named = os.environ.get("BROWSER_PATH")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is None:
        raise FileNotFoundError("install Chromium (on Debian: apt install chromium), or set BROWSER_PATH to a browser")
    return found


@contextmanager
def opened(chromium: BrowserType) -> Iterator[tuple[Browser, Page, list[str]]]:
    """Start a browser of its own, because a document may stop it. The list gets the errors of its page."""
    # Chromium's own sandbox needs rights that a container does not have.
    browser = chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
    try:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.add_init_script(_FRAMES)
        yield browser, page, errors
    finally:
        browser.close()


@contextmanager
def marked(browser: Browser, page: Page) -> Iterator[Callable[[], bytes]]:
    """Trace the page while the block runs. Afterwards, the function gives the trace."""
    trace = b""
    browser.start_tracing(page=page, categories=CATEGORIES)
    page.evaluate(f"performance.mark('{BEGIN}') && undefined")
    yield lambda: trace
    page.evaluate(f"performance.mark('{END}') && undefined")
    trace = browser.stop_tracing()


def heap(page: Page) -> float:
    """The JavaScript heap after a collection, in MB."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    used: float = session.send("Runtime.getHeapUsage")["usedSize"]
    return used / 1e6

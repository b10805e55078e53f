"""A real service on loopback, with the built page, in a real browser."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bench.page.browser import browser_path
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.page.browsers import Misdeeds
from tests.page.talking import Talk

from graph_agent import Settings, create_app
from graph_agent.testing.loopback import on_loopback

SECONDS = 20
"""How long a test waits for what it expects. The machine may be busy, and a test that passes does not wait."""

expect.set_options(timeout=SECONDS * 1000)


@dataclass
class Site:
    """A running service with its page."""

    url: str
    talk: Talk


@contextmanager
def site(
    folder: Path, graphs: Mapping[str, Any] | None = None, *, from_manifest: bool = False, **settings: Any
) -> Iterator[Site]:
    """Serve the page and a scripted graph, these graphs, or those of the setting `config`, with a store in `folder`."""
    talk = Talk()
    chosen = {"tracing": "off", "store": f"sqlite:{folder}/store.db", "default_graph": "talk"} | settings
    app = create_app(Settings.from_environment(**chosen), None if from_manifest else graphs or {"talk": talk.graph()})
    with on_loopback(app) as url:
        yield Site(url, talk)
        # A run that waits would keep the service from stopping.
        talk.go_on.set()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container does not have.
        started = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One service for the tests of a module that only add conversations."""
    with site(tmp_path_factory.mktemp("store")) as served:
        yield served


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open the page of a site in a context of its own. At the end of the test, it must have done nothing wrong.

    `expected` lists beginnings of console errors that the test causes on purpose.
    """
    contexts = []

    def opened(at: Site, path: str = "/", *, expected: list[str] | None = None, **options: Any) -> Page:
        context = browser.new_context(**options)
        context.set_default_timeout(SECONDS * 1000)
        misdeeds = Misdeeds(context, at.url, expected or [])
        contexts.append((context, misdeeds))
        page = context.new_page()
        page.goto(at.url + path)
        return page

    yield opened
    for context, misdeeds in contexts:
        try:
            misdeeds.check()
        finally:
            context.close()

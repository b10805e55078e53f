"""The built site as the service serves it, in a browser. `make test-docs` builds it first."""

from collections.abc import Iterator

import pytest
from bench.page.browser import browser_path
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.documentation.examples import graphs
from tests.page.browsers import Misdeeds

import graph_agent
import graph_agent.testing
from graph_agent import Settings, create_app
from graph_agent.serving.documentation_build import DocumentationBuild
from graph_agent.testing import on_loopback

SECONDS = 30


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with on_loopback(create_app(Settings(tracing="off", store="memory"), graphs(), environ={})) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container does not have.
        started = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(color_scheme="dark")
    context.set_default_timeout(SECONDS * 1000)
    expect.set_options(timeout=SECONDS * 1000)
    # The page for an address that does not exist is answered 404, which the browser reports.
    misdeeds = Misdeeds(context, url, ["Failed to load resource: the server responded with a status of 404"])
    yield context.new_page()
    misdeeds.check()
    context.close()


def test_the_pages_keep_to_their_policy_and_the_search_finds(page: Page, url: str) -> None:
    page.goto(f"{url}/docs")
    expect(page).to_have_url(f"{url}/docs/")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    page.get_by_placeholder("Search").fill("chat_model")
    page.locator(".md-search-result__item a").first.click()
    expect(page.locator("h1")).to_be_visible()
    assert page.url.startswith(f"{url}/docs/")


def test_an_address_that_is_no_page_leads_back(page: Page, url: str) -> None:
    page.goto(f"{url}/docs/graphs/none/")
    expect(page.locator("h1")).to_have_text("There is no such page")
    page.get_by_placeholder("Search").fill("approval")
    expect(page.locator(".md-search-result__item").first).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="quick start", exact=True).click()
    expect(page).to_have_url(f"{url}/docs/")
    expect(page.locator("h1")).to_contain_text("Quick start")


@pytest.mark.parametrize(("module", "name"), [(graph_agent, "python"), (graph_agent.testing, "testing")])
def test_every_public_name_has_its_place(module: object, name: str) -> None:
    site = DocumentationBuild().read()
    assert site is not None, "run make docs first"
    found = site.read(f"reference/{name}/index.html")
    assert found is not None
    text = found.body.decode()
    prefix = module.__name__  # type: ignore[attr-defined]
    missing = [one for one in module.__all__ if f'id="{prefix}.{one}"' not in text]  # type: ignore[attr-defined]
    assert missing == []

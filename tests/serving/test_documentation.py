"""The documentation at `/docs/`: which files are served, with which headers, to whom, and below which prefix."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from langgraph.graph import START, MessagesState, StateGraph
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from graph_agent import Settings, host_lifespan
from graph_agent.serving.app import create_app
from graph_agent.testing import AgentClient

pytestmark = pytest.mark.anyio

HASH = "sha256-" + "a" * 43 + "="
HOME = "<!doctype html><title>Home</title>"
SEARCH = json.dumps({"docs": [{"text": "words and words " * 50}]})
TOKEN = "a-token-for-the-documentation-tests"

POLICY = (
    f"default-src 'none'; script-src 'self' '{HASH}'; worker-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)

FILES = {
    "index.html": HOME,
    "404.html": '<link href="/__docs__/assets/a.css"><h1>404</h1>',
    "graphs/index.html": "<title>Graphs</title>",
    "assets/a.css": "p{}",
    "search/search_index.json": SEARCH,
}


def build(folder: Path) -> Path:
    """What `make docs` leaves, and files that its manifest does not list or must not list."""
    for name, text in {**FILES, "unlisted.html": "unlisted", "notes.txt": "text", "../outside.html": "out"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    listed = [*FILES, "notes.txt", "../outside.html", "graphs/../unlisted.html", ".hidden/index.html"]
    (folder / "manifest.json").write_text(json.dumps({"files": listed, "scripts": [HASH, "'unsafe-inline'"]}))
    return folder


def graph() -> Any:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": []}

    return StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    return build(tmp_path / "documentation")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def visiting(folder: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app with the documentation in that folder."""
    values: dict[str, Any] = {"tracing": "off", "store": "memory"}
    app = create_app(Settings(**values | settings), {"mine": graph()}, environ={}, docs_folder=folder)
    async with AgentClient(app) as client:
        yield client.http


async def test_the_documentation_may_load_only_its_own_files_and_run_only_its_own_scripts(built: Path) -> None:
    async with visiting(built) as client:
        home, page = await client.get("/docs/"), await client.get("/docs/graphs/")
        style, found = await client.get("/docs/assets/a.css"), await client.get("/docs/search/search_index.json")
        known = await client.get("/docs/", headers={"if-none-match": home.headers["etag"]})
        head = await client.head("/docs/")
    assert (home.status_code, home.text, page.text) == (200, HOME, FILES["graphs/index.html"])
    wanted = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "vary": "accept-encoding",
    }
    assert {name: home.headers.get(name) for name in wanted} == wanted
    assert (style.headers["content-type"], style.headers["cache-control"]) == (
        "text/css; charset=utf-8",
        "public, max-age=3600",
    )
    assert (found.text, found.headers["content-encoding"]) == (SEARCH, "gzip")
    assert (known.status_code, known.content) == (304, b"")
    assert head.status_code == 200


async def test_an_address_without_its_slash_leads_to_the_page_and_never_away(built: Path) -> None:
    async with visiting(built) as client:
        bare, page = await client.get("/docs"), await client.get("/docs/graphs")
        away = await client.get("/docs//other.example")
    assert (bare.status_code, bare.headers["location"]) == (307, "docs/")
    assert (page.status_code, page.headers["location"]) == (307, "graphs/")
    assert away.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "none",
        "graphs/none/",
        "unlisted.html",
        "notes.txt",
        "manifest.json",
        "..%2foutside.html",
        "%2e%2e/outside.html",
        "graphs/..%2funlisted.html",
        "..%5coutside.html",
        ".hidden/",
        "%00",
        "/etc/passwd",
        "index.html/",
    ],
)
async def test_what_the_build_does_not_list_is_a_page_that_says_so(built: Path, path: str) -> None:
    async with visiting(built) as client:
        # The client must not resolve the dots.
        answer = await client.get(httpx.URL("http://localhost", raw_path=f"/docs/{path}".encode()))
    assert answer.status_code == 404
    assert answer.text == '<link href="/docs/assets/a.css"><h1>404</h1>'
    assert answer.headers["cache-control"] == "no-store"


async def test_a_link_in_the_folder_is_not_followed(built: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with visiting(built) as client:
        await client.get("/docs/")
        page = built / "graphs" / "index.html"
        page.unlink()
        page.symlink_to(built.parent / "outside.html")
        assert (await client.get("/docs/graphs/")).status_code == 404
    assert "a file of the documentation cannot be read" in caplog.text


async def test_a_checkout_without_it_says_how_to_build_it_and_shows_it_once_it_is_built(tmp_path: Path) -> None:
    async with visiting(tmp_path / "documentation") as client:
        before, below, api = [await client.get(path) for path in ("/docs", "/docs/graphs/", "/agent/info")]
        build(tmp_path / "documentation")
        after = await client.get("/docs/")
    assert (before.status_code, below.status_code, api.status_code) == (503, 503, 200)
    assert "<code>make docs</code>" in before.text
    assert "script-src 'self';" in before.headers["content-security-policy"]
    assert after.text == HOME


@pytest.mark.parametrize(("reload", "shown"), [("on", "new"), ("off", HOME)])
async def test_a_new_build_is_shown_where_graphs_are_reloaded_too(built: Path, reload: str, shown: str) -> None:
    async with visiting(built, reload=reload) as client:
        await client.get("/docs/")
        (built / "index.html").write_text("new")
        os.utime(built / "manifest.json", ns=(1, 1))
        assert (await client.get("/docs/")).text == shown


async def test_a_broken_build_is_reported(built: Path, caplog: pytest.LogCaptureFixture) -> None:
    (built / "manifest.json").write_text("{")
    async with visiting(built) as client:
        assert (await client.get("/docs/")).status_code == 503
    assert "the documentation cannot be read; build it again" in caplog.text


async def test_it_can_be_switched_off(built: Path) -> None:
    async with visiting(built, docs="off") as client:
        answers = [await client.get(path) for path in ("/docs", "/docs/", "/docs/graphs/")]
    assert [(one.status_code, one.json()["error"]["code"]) for one in answers] == [(404, "not_found")] * 3


async def test_behind_a_token_it_is_public_and_nothing_beside_it(built: Path) -> None:
    async with visiting(built, bearer_token=TOKEN) as client:
        public = [(await client.get(path)).status_code for path in ("/docs", "/docs/", "/docs/none")]
        beside = [(await client.get(path)).status_code for path in ("/docsx", "/documents", "/v1/models")]
    async with visiting(built, bearer_token=TOKEN, docs="off") as client:
        off = (await client.get("/docs/")).status_code
    assert (public, beside, off) == ([307, 200, 404], [401] * 3, 401)


def test_below_a_prefix_the_pages_find_their_files(built: Path) -> None:
    app = create_app(Settings(tracing="off", store="memory"), {"mine": graph()}, environ={}, docs_folder=built)
    host = Starlette(routes=[Mount("/tools/agent", app)], lifespan=host_lifespan(app))
    with TestClient(host) as client:
        home = client.get("/tools/agent/docs")
        assert (home.text, home.url.path) == (HOME, "/tools/agent/docs/")
        assert client.get(urljoin(str(home.url), "graphs")).url.path == "/tools/agent/docs/graphs/"
        missing = client.get("/tools/agent/docs/none")
    assert '"/tools/agent/docs/assets/a.css"' in missing.text

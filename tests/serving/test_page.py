"""The chat page at `/`: which files are served, with which headers, to whom, and below which prefix."""

import gzip
import json
import os
from collections.abc import AsyncIterator, Iterator
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
from tests.serving.conftest import Service, serving
from tests.serving.test_requests import raw

from graph_agent import Settings, host_lifespan
from graph_agent.errors import BadSetting
from graph_agent.serving.app import create_app
from graph_agent.testing import AgentClient

pytestmark = pytest.mark.anyio

INDEX = '<!doctype html><title>Chat</title><script type="module" src="./assets/index-abc123.js"></script>'
SCRIPT = "export const words = 'quite repetitive';\n" * 100
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
TOKEN = "a-token-for-the-page-tests"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)


def build(folder: Path) -> Path:
    """What Vite leaves: an index, hashed files and the manifest that names them. And files that it does not name."""
    (folder / "assets").mkdir()
    (folder / "index.html").write_text(INDEX)
    for name, body in {"index-abc123.js": SCRIPT, "index-def456.css": "p{}", "later-0a1b.js": "later()"}.items():
        (folder / "assets" / name).write_text(body)
    (folder / "assets" / "unnamed.js").write_text("unnamed()")
    for secret in (folder / "secret.txt", folder / "secret.js", folder.parent / "outside.js"):
        secret.write_text("secret")
    manifest = {
        "index.html": {"file": "assets/index-abc123.js", "css": ["assets/index-def456.css"], "isEntry": True},
        "src/later.ts": {"file": "assets/later-0a1b.js"},
        "src/escaping.ts": {"file": "../outside.js", "assets": ["assets/../secret.js", "secret.js", "secret.txt"]},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def graph() -> Any:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": []}

    return StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    folder.mkdir()
    return build(folder)


@asynccontextmanager
async def visiting(folder: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app with the page in that folder."""
    values: dict[str, Any] = {"tracing": "off", "store": "memory"}
    app = create_app(Settings(**values | settings), {"mine": graph()}, environ={}, page_folder=folder)
    async with AgentClient(app) as client:
        yield client.http


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(page_folder=build(tmp_path_factory.mktemp("page"))) as running:
        yield running


async def test_the_page_is_at_the_root_and_may_load_only_its_own_files(service: Service) -> None:
    async with service.client() as client:
        answer = await client.get("/", headers={"accept": "application/json"})
    assert (answer.status_code, answer.text) == (200, INDEX)
    wanted = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    }
    assert {name: answer.headers.get(name) for name in wanted} == wanted
    assert "set-cookie" not in answer.headers


async def test_a_hashed_file_is_compressed_and_kept_forever(service: Service) -> None:
    async with service.client() as client:
        packed = await client.get("/assets/index-abc123.js")
        plain = await client.get("/assets/index-abc123.js", headers={"accept-encoding": "gzip;q=0, br"})
        style = await client.get("/assets/index-def456.css")
        known = await client.get("/assets/index-abc123.js", headers={"if-none-match": f'"x", {packed.headers["etag"]}'})
    assert packed.text == plain.text == SCRIPT
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(gzip.compress(SCRIPT.encode(), 9)) < 200
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert packed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert packed.headers["content-type"] == "text/javascript; charset=utf-8"
    assert (style.text, style.headers["content-type"]) == ("p{}", "text/css; charset=utf-8")
    # It would be larger.
    assert "content-encoding" not in style.headers
    assert packed.headers["content-security-policy"] == POLICY
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", packed.headers["etag"])


async def test_head_has_the_headers_and_no_body(service: Service) -> None:
    head, body = await raw(service, b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert head.split()[1] == b"200"
    assert f"content-length: {len(INDEX)}".encode() in head.lower()
    assert body == b""


@pytest.mark.parametrize(
    "target",
    [
        "/assets/unnamed.js",
        "/assets/none.js",
        "/assets/",
        "/assets/../secret.txt",
        "/assets/..%2fsecret.txt",
        "/assets/%2e%2e/secret.txt",
        "/assets/..%5csecret.txt",
        "/assets/secret.txt",
        "/assets/secret.js",
        "/assets/outside.js",
        "/assets//etc/passwd",
        "/assets/manifest.json",
        "/assets/index.html",
        "/secret.txt",
        "/manifest.json",
        "/index.html",
        "/page/",
        "/page/logo",
        "/page/settings.json/more",
        "/favicon.ico",
    ],
)
async def test_a_file_that_the_build_does_not_name_is_not_served(service: Service, target: str) -> None:
    head, body = await raw(service, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert head.split()[1] == b"404"
    assert json.loads(body)["error"]["code"] == "not_found"


async def test_a_link_in_the_folder_is_not_followed(built: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = built / "assets" / "later-0a1b.js"
    script.unlink()
    script.symlink_to(built / "secret.txt")
    async with visiting(built) as client:
        page, asset = await client.get("/"), await client.get("/assets/later-0a1b.js")
    assert (page.status_code, asset.status_code) == (503, 404)
    assert "the chat page cannot be read; build it again" in caplog.text


async def test_a_checkout_without_the_page_says_how_to_build_it_and_shows_it_once_it_is_built(tmp_path: Path) -> None:
    async with visiting(tmp_path) as client:
        before, ready = await client.get("/"), await client.get("/agent/info")
        build(tmp_path)
        after = await client.get("/")
    assert before.status_code == 503
    assert "<code>make page</code>" in before.text
    assert "<style" not in before.text
    assert before.headers["content-security-policy"] == POLICY
    assert ready.status_code == 200
    assert after.text == INDEX


@pytest.mark.parametrize(("reload", "shown"), [("on", "new"), ("off", INDEX)])
async def test_a_page_that_is_built_again_is_shown_where_graphs_are_reloaded_too(
    built: Path, reload: str, shown: str
) -> None:
    async with visiting(built, reload=reload) as client:
        await client.get("/")
        (built / "index.html").write_text("new")
        os.utime(built / "manifest.json", ns=(1, 1))
        assert (await client.get("/")).text == shown


async def test_the_page_can_be_switched_off(built: Path) -> None:
    async with visiting(built, page="off") as client:
        answers = [await client.get(path) for path in ("/", "/assets/index-abc123.js", "/page/settings.json")]
    assert [(one.status_code, one.json()["error"]["code"]) for one in answers] == [(404, "not_found")] * 3


async def test_the_page_is_told_what_the_operator_has_set(built: Path, tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'></svg>")
    async with visiting(built) as client:
        plain = (await client.get("/page/settings.json")).json()
    async with visiting(
        built,
        page_title="Shop",
        page_logo=tmp_path / "logo.svg",
        page_color="#aa0000",
        page_greeting="Grüß Gott",
        page_disclaimer="Answers may be wrong.",
    ) as client:
        answer, logo = await client.get("/page/settings.json"), await client.get("/page/logo")
    assert plain == {
        "title": "graph-agent",
        "logo": False,
        "color": None,
        "color_dark": None,
        "greeting": None,
        "disclaimer": None,
        "sign_in": "none",
        "feedback": False,
        "trace_links": False,
        "unanswered": "restate",
        "max_body_bytes": 8_388_608,
        "version": plain["version"],
    }
    assert answer.json() == plain | {
        "title": "Shop",
        "logo": True,
        "color": "#aa0000",
        "color_dark": "#aa0000",
        "greeting": "Grüß Gott",
        "disclaimer": "Answers may be wrong.",
    }
    assert logo.headers["content-type"] == "image/svg+xml"
    assert logo.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert logo.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("logo.png", None, "cannot be read"),
        ("logo.png", b"GIF89a", "must name an SVG or PNG file"),
        ("logo.html", b"<svg></svg>", "must name an SVG or PNG file"),
        ("logo.svg", b"<svg>" + bytes(262_144), "more than 262144 bytes"),
    ],
)
def test_a_logo_that_the_page_cannot_show_stops_the_start(
    tmp_path: Path, name: str, body: bytes | None, words: str
) -> None:
    if body is not None:
        (tmp_path / name).write_bytes(body)
    with pytest.raises(BadSetting, match=words):
        create_app(Settings(page_logo=tmp_path / name), {"mine": graph()}, environ={})


async def test_behind_a_token_the_page_is_public_and_the_api_is_not(built: Path, tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(PNG)
    async with visiting(built, bearer_token=TOKEN, page_logo=tmp_path / "logo.png") as client:
        public = ["/", "/assets/index-abc123.js", "/page/settings.json", "/page/logo", "/assets/none.js"]
        statuses = [(await client.get(path)).status_code for path in public]
        refused = [
            (await client.get(path)).status_code
            for path in ("/v1/models", "/conversations", "/agent/info", "/page", "/page/other", "/assetsx", "/x")
        ]
        settings = (await client.get("/page/settings.json")).json()
        allowed = await client.get("/v1/models", headers={"authorization": f"Bearer {TOKEN}"})
    assert statuses == [200, 200, 200, 200, 404]
    assert refused == [401] * 7
    assert settings["sign_in"] == "token"
    assert TOKEN not in json.dumps(settings)
    assert allowed.status_code == 200


async def test_behind_a_token_without_a_page_nothing_more_is_public(built: Path) -> None:
    async with visiting(built, bearer_token=TOKEN, page="off") as client:
        assert [(await client.get(path)).status_code for path in ("/", "/page/settings.json")] == [401, 401]


def test_below_a_prefix_the_page_finds_its_files(built: Path) -> None:
    app = create_app(Settings(tracing="off", store="memory"), {"mine": graph()}, environ={}, page_folder=built)
    host = Starlette(routes=[Mount("/tools/agent", app)], lifespan=host_lifespan(app))
    with TestClient(host) as client:
        page = client.get("/tools/agent")
        assert (page.text, page.url.path) == (INDEX, "/tools/agent/")
        script = client.get(urljoin(str(page.url), "./assets/index-abc123.js"))
        assert script.text == SCRIPT
        assert client.get(urljoin(str(page.url), "page/settings.json")).json()["sign_in"] == "none"
        assert client.get("/").status_code == 404


@pytest.mark.parametrize("path", ["/agent", "/agent/"])
def test_behind_a_proxy_with_a_prefix_the_page_is_at_the_prefix_with_a_slash(built: Path, path: str) -> None:
    app = create_app(Settings(tracing="off", store="memory"), {"mine": graph()}, environ={}, page_folder=built)
    with TestClient(app, root_path="/agent") as client:
        page = client.get(path)
    assert (page.text, page.url.path) == (INDEX, "/agent/")

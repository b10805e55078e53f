"""A web page may not drive a service on this machine: not by a simple request, not by DNS rebinding."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.serving.conftest import Service
from tests.serving.test_requests import raw

from graph_agent.errors import BadSetting
from graph_agent.serving.app import create_app
from graph_agent.settings import Settings

pytestmark = pytest.mark.anyio

BODY = json.dumps({"model": "plain", "input": "Hello?"})
JSON = "Content-Type: application/json"


async def status(service: Service, *lines: str, target: str = "/responses", method: str = "POST") -> int:
    """Of a request with exactly these header lines."""
    body = BODY if method == "POST" else ""
    head = [f"{method} {target} HTTP/1.1", *lines, f"Content-Length: {len(body)}", "Connection: close"]
    answer, _ = await raw(service, ("\r\n".join(head) + "\r\n\r\n" + body).encode())
    return int(answer.split()[1])


OWN = [
    "localhost",
    "localhost:8000",
    "LOCALHOST:8000",
    "localhost.",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1:9",
    "127.1.2.3:8000",
    "[::1]",
    "[::1]:8000",
    "[0:0:0:0:0:0:0:1]:8000",
    "[::FFFF:127.0.0.1]",
]
FOREIGN = [
    "evil.com",
    "evil.com:8000",
    "127.0.0.1.evil.com",
    "127.0.0.1.nip.io:8000",
    "localhost.evil.com",
    "evil-localhost",
    "xlocalhost",
    "localhost:8000.",
    "localhost:8000:8000",
    "localhost:99999",
    "localhost:80x",
    "localhost@evil.com",
    "evil.com@localhost",
    "user:localhost@evil.com",
    "localhost/evil.com",
    "localhost evil.com",
    "localhost, evil.com",
    "localhost\tx",
    "localhost..",
    ".localhost",
    "0.0.0.0",
    "10.0.0.1:8000",
    "192.168.1.5",
    "169.254.169.254",
    "2130706433",
    "127.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "[::]",
    "[fe80::1]:8000",
    "[::1",
    "::1",
    "[::1]evil.com",
    "[::1].evil.com",
    "ⓛocalhost",
    "localhost\x00",
    "%6cocalhost",
    "*",
]


@pytest.mark.parametrize("host", OWN)
async def test_a_service_answers_under_every_name_of_loopback(service: Service, host: str) -> None:
    assert await status(service, f"Host: {host}", JSON) == 200
    assert await status(service, f"Host: {host}", f"Origin: http://{host}", JSON) == 200


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_service_answers_under_no_other_name(service: Service, host: str) -> None:
    assert await status(service, f"Host: {host}", JSON) in (400, 403)
    assert await status(service, f"Host: {host}", target="/agent/info", method="GET") in (400, 403)
    assert await status(service, f"Host: {host}", target="/ready", method="GET") in (400, 403)
    assert await status(service, f"Host: {host}", target="/nothing", method="GET") in (400, 403)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["Host: "],
        ["Host: localhost", "Host: evil.com"],
        ["Host: evil.com", "Host: localhost"],
        ["Host: localhost", "Host: localhost"],
    ],
)
async def test_a_service_is_asked_under_one_name(service: Service, hosts: Sequence[str]) -> None:
    assert await status(service, *hosts, JSON) in (400, 403)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.com",
        "https://evil.com",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com:8000",
        "http://evil.com:8000",
        "http://localhost@evil.com",
        "http://user:pass@localhost",
        "http://localhost/path",
        "http://localhost?x",
        "localhost",
        "file://",
        "file://localhost",
        "chrome-extension://abcdefghijklmnop",
        "https://smith.langchain.com",
        "http://localhost http://evil.com",
        "http://localhost, http://evil.com",
        "http://10.0.0.1",
        "http://[::1].evil.com",
    ],
)
async def test_a_foreign_page_is_refused_whatever_it_sends(service: Service, origin: str) -> None:
    for lines in ([JSON], ["Content-Type: text/plain"], []):
        assert await status(service, "Host: localhost", f"Origin: {origin}", *lines) == 403
    assert await status(service, "Host: localhost", f"Origin: {origin}", target="/agent/info", method="GET") == 403


async def test_of_two_origins_neither_may_be_foreign(service: Service) -> None:
    assert await status(service, "Host: localhost", "Origin: http://localhost", "Origin: http://evil.com", JSON) == 403


async def test_a_preflight_of_a_foreign_page_is_refused_and_no_page_is_allowed_anything(service: Service) -> None:
    async with service.client() as client:
        for origin, expected in (("https://evil.com", 403), ("http://localhost:3000", 405)):
            asks = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
            answer = await client.options("/responses", headers={"origin": origin, **asks})
            assert answer.status_code == expected
            assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json ; x=y",
        "application/vnd.api+json",
    ],
)
@pytest.mark.parametrize(
    "address", ["/invocations", "/api/invocations", "/responses", "/api/responses", "/v1/responses"]
)
async def test_a_body_that_is_said_to_be_json_is_read(service: Service, address: str, kind: str) -> None:
    assert await status(service, "Host: localhost", f"Content-Type: {kind}", target=address) == 200


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Content-Type: "],
        ["Content-Type: text/plain"],
        ["Content-Type: text/plain;charset=UTF-8"],
        ["Content-Type: text/plain; application/json"],
        ["Content-Type: text/plain;x=application/json"],
        ["Content-Type: application/x-www-form-urlencoded"],
        ["Content-Type: multipart/form-data; boundary=x"],
        ["Content-Type: application/jsonp"],
        ["Content-Type: xapplication/json"],
        ["Content-Type: application/json, text/plain"],
        ["Content-Type: text/json"],
        ["Content-Type: application/json", "Content-Type: text/plain"],
        ["Content-Type: text/plain", "Content-Type: application/json"],
    ],
)
@pytest.mark.parametrize("address", ["/invocations", "/v1/responses"])
async def test_any_other_body_is_refused_unread(service: Service, address: str, lines: Sequence[str]) -> None:
    assert await status(service, "Host: localhost", *lines, target=address) == 415


async def test_the_refusals_say_what_to_change(service: Service) -> None:
    async with service.client() as client:
        plain = await client.post("/responses", content=BODY, headers={"content-type": "text/plain"})
        page = await client.post("/responses", json={}, headers={"origin": "https://evil.com"})
        named = await client.post("/responses", json={}, headers={"host": "evil.com"})
    assert [answer.json()["error"]["code"] for answer in (plain, page, named)] == [
        "not_json",
        "foreign_page",
        "foreign_page",
    ]
    assert "'Content-Type: application/json'" in plain.json()["detail"]
    assert "GRAPH_AGENT_ALLOWED_HOSTS" in page.json()["detail"]
    assert "GRAPH_AGENT_ALLOWED_HOSTS" in named.json()["detail"]
    assert all(answer.headers["x-request-id"] for answer in (plain, page, named))


async def test_health_is_told_to_anybody(service: Service) -> None:
    for lines in (["Host: evil.com"], ["Host: localhost", "Origin: https://evil.com"], ["Host: 10.1.2.3:8000"]):
        assert await status(service, *lines, target="/health", method="GET") == 200
    assert await status(service, "Host: evil.com", target="/health/", method="GET") in (400, 403)


async def test_a_setting_names_more_hosts(serve: Callable[..., Any]) -> None:
    with serve(allowed_hosts="Agent.example.com, other") as service:
        for host in ("agent.example.com", "AGENT.example.com:8443", "other", "localhost"):
            assert await status(service, f"Host: {host}", f"Origin: https://{host}", JSON) == 200
        for host in ("example.com", "x.agent.example.com", "agent.example.com.evil.com", "another"):
            assert await status(service, f"Host: {host}", JSON) in (400, 403)


@pytest.mark.parametrize("hosts", ["http://x", "x:80", "*", "*.example.com", "x/y", "a b", "[::1]"])
def test_a_setting_that_names_no_host_stops_the_start(hosts: str) -> None:
    with pytest.raises(BadSetting, match="GRAPH_AGENT_ALLOWED_HOSTS must be host names"):
        Settings(allowed_hosts=hosts)


async def asked(app: Any, *, host: str, path: str = "/ready", **headers: str) -> int:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        return (await client.get(path, headers=headers)).status_code


async def test_a_service_that_is_bound_to_more_than_loopback_is_asked_under_addresses_too() -> None:
    app = create_app(Settings(host="0.0.0.0", tracing="off"), environ={})
    assert await asked(app, host="10.0.0.1:8000") == 503
    assert await asked(app, host="[2001:db8::1]:8000") == 503
    assert await asked(app, host="evil.com") == 403
    assert await asked(app, host="10.0.0.1", origin="https://evil.com") == 403


async def test_a_service_with_a_token_and_one_on_databricks_apps_decide_without_the_page() -> None:
    page = {"origin": "https://evil.com"}
    with_token = create_app(Settings(bearer_token="open sesame", tracing="off"), environ={})
    assert await asked(with_token, host="evil.com", authorization="Bearer open sesame", **page) == 503
    assert await asked(with_token, host="localhost") == 401
    on_apps = create_app(Settings(tracing="off"), environ={"DATABRICKS_APP_NAME": "app"})
    assert await asked(on_apps, host="app-1.databricksapps.com", **page) == 503


async def test_they_read_a_body_whatever_it_is_said_to_be(serve: Callable[..., Any]) -> None:
    with serve(bearer_token="open sesame") as service:
        lines = ["Host: evil.com", "Origin: https://evil.com", "Authorization: Bearer open sesame"]
        for kind in (["Content-Type: text/plain"], []):
            assert await status(service, *lines, *kind) == 200


async def test_a_mounted_app_leaves_its_names_to_its_host() -> None:
    inner = create_app(Settings(tracing="off"), environ={})
    outer = Starlette(routes=[Mount("/agent", app=inner)])
    assert await asked(outer, host="shop.example.com", path="/agent/ready") == 503


async def test_the_pages_own_address_needs_no_port(service: Service) -> None:
    port = urlsplit(service.url).port
    assert await status(service, f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port}", JSON) == 200

"""Who may open a WebSocket, for whom it asks, and what is logged of it."""

import ast
import asyncio
import base64
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.serving.conftest import Service, serving, settled
from tests.serving.talking import talking, text_of
from tests.serving.test_sockets import talker
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from graph_agent import Settings, create_app, host_lifespan
from graph_agent.testing.asgi import Lifespan

pytestmark = pytest.mark.anyio

SERVING = Path(__file__).parents[2] / "src" / "graph_agent" / "serving"
TOKEN = "a-token-of-the-operator"
OTHER, NAMED = "https://evil.example", "https://app.example.com"


@pytest.fixture(scope="module")
def open_service() -> Iterator[Service]:
    with serving(graphs={"a": talker()}, cors_origins=NAMED) as running:
        yield running


@pytest.fixture(scope="module")
def guarded() -> Iterator[Service]:
    with serving(graphs={"a": talker()}, bearer_token=TOKEN, user_header="X-User", cors_origins=NAMED) as running:
        yield running


@pytest.fixture(scope="module")
def on_apps() -> Iterator[Service]:
    environ = {"DATABRICKS_APP_NAME": "agent"}
    with serving(environ, graphs={"a": talker()}, cors_origins=NAMED) as running:
        yield running


@pytest.fixture
def services(open_service: Service, guarded: Service, on_apps: Service) -> Mapping[str, Service]:
    return {"open": open_service, "token": guarded, "apps": on_apps}


SIGNED_IN: Mapping[str, Mapping[str, str]] = {
    "open": {},
    "token": {"authorization": f"Bearer {TOKEN}", "x-user": "ann"},
    "apps": {"x-forwarded-user": "ann"},
}
KINDS = pytest.mark.parametrize("kind", SIGNED_IN)


async def refusal(service: Service, headers: Mapping[str, str], path: str = "/v1/responses") -> tuple[int, str]:
    """The status and the code with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with connect(service.url.replace("http", "ws", 1) + path, additional_headers=dict(headers)):
            pass
    answer = refused.value.response
    return answer.status_code, json.loads(answer.body)["error"]["code"]


@KINDS
async def test_who_may_ask_over_http_may_open_a_websocket(services: Mapping[str, Service], kind: str) -> None:
    async with talking(services[kind], additional_headers=dict(SIGNED_IN[kind])) as talk:
        assert text_of(await talk.ask(input="Hi", store=False)) == "Heard: Hi"


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("token", {"x-user": "ann"}),
        ("token", {"authorization": "Bearer wrong", "x-user": "ann"}),
        ("token", {"authorization": TOKEN, "x-user": "ann"}),
        # Nobody is named.
        ("token", {"authorization": f"Bearer {TOKEN}"}),
        ("apps", {}),
        ("apps", {"authorization": f"Bearer {TOKEN}"}),
    ],
)
async def test_without_a_token_and_a_user_nothing_is_opened(
    services: Mapping[str, Service], kind: str, headers: Mapping[str, str]
) -> None:
    assert await refusal(services[kind], headers) == (401, "unauthenticated")


async def test_every_address_is_closed_without_the_token(guarded: Service) -> None:
    for path in ("/responses", "/nothing", "/health"):
        expected = (404, "not_found") if path == "/health" else (401, "unauthenticated")
        assert await refusal(guarded, {}, path) == expected


@KINDS
async def test_a_page_of_another_site_opens_no_websocket(services: Mapping[str, Service], kind: str) -> None:
    service, signed_in = services[kind], SIGNED_IN[kind]
    for origin in (OTHER, "null", f"{service.url}.evil.example", "http://evil.example:80", ""):
        assert await refusal(service, {**signed_in, "origin": origin}) == (403, "foreign_page"), origin


@KINDS
async def test_pages_of_the_service_and_of_named_sites_do(services: Mapping[str, Service], kind: str) -> None:
    service, signed_in = services[kind], SIGNED_IN[kind]
    for origin in (service.url, NAMED):
        async with talking(service, additional_headers={**signed_in, "origin": origin}) as talk:
            assert text_of(await talk.ask(input="Hi", store=False)) == "Heard: Hi"


async def test_behind_a_proxy_the_host_is_the_one_that_it_forwards(on_apps: Service) -> None:
    headers = {**SIGNED_IN["apps"], "x-forwarded-host": "agent-1.aws.databricksapps.com"}
    page = {"origin": "https://agent-1.aws.databricksapps.com"}
    async with talking(on_apps, additional_headers={**headers, **page}) as talk:
        assert text_of(await talk.ask(input="Hi", store=False)) == "Heard: Hi"
    assert await refusal(on_apps, {**headers, "origin": "https://other-2.aws.databricksapps.com"}) == (
        403,
        "foreign_page",
    )


@pytest.mark.parametrize(("host", "status"), [("rebound.example", b"403"), ("localhost", b"101")])
async def test_a_name_that_is_not_the_servers_opens_no_websocket(
    open_service: Service, host: str, status: bytes
) -> None:
    # A page of a name that resolves to loopback: its origin is that of its host.
    port = urlsplit(open_service.url).port
    lines = [
        *("GET /v1/responses HTTP/1.1", f"Host: {host}:{port}", f"Origin: http://{host}:{port}"),
        *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        f"Sec-WebSocket-Key: {base64.b64encode(b'0123456789abcdef').decode()}",
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    with anyio.fail_after(20):
        assert (await reader.readline()).split()[1] == status
    writer.close()
    await writer.wait_closed()


async def test_a_mounted_app_refuses_pages_of_other_sites_too() -> None:
    agent = create_app(Settings(tracing="off", store="memory"), {"a": talker()}, environ={})
    host = Starlette(routes=[Mount("/agent", agent)], lifespan=host_lifespan(agent))
    for origin, first in ((OTHER, "websocket.http.response.start"), ("https://host.example", "websocket.accept")):
        sent: list[Any] = []
        received = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1005}])

        async def receive(received: Any = received) -> Any:
            return next(received)

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        headers = [(b"host", b"host.example"), (b"origin", origin.encode())]
        scope = {
            **{
                "type": "websocket",
                "path": "/agent/v1/responses",
                "raw_path": b"",
                "root_path": "",
                "headers": headers,
            },
            **{"query_string": b"", "scheme": "wss", "subprotocols": [], "extensions": {"websocket.http.response": {}}},
        }
        lifespan = Lifespan(host)
        await lifespan.startup()
        await host(scope, receive, send)
        await lifespan.shutdown()
        assert sent[0]["type"] == first


async def test_users_do_not_continue_each_others_responses(guarded: Service) -> None:
    bob = {"authorization": f"Bearer {TOKEN}", "x-user": "bob"}
    async with (
        talking(guarded, additional_headers=dict(SIGNED_IN["token"])) as talk,
        talking(guarded, additional_headers=bob) as stranger,
    ):
        for store in (True, False):
            first = await talk.ask(input="One", store=store)
            for continued in (True, False):
                refused = await stranger.refused(input="Two", store=continued, previous_response_id=first["id"])
                assert refused["code"] == "previous_response_not_found"


@pytest.mark.parametrize("name", ["idempotency-key", "x-mlflow-return-trace-id"])
async def test_a_header_that_makes_no_sense_there_is_refused(open_service: Service, name: str) -> None:
    assert await refusal(open_service, {name: "true"}) == (400, "invalid_request")


async def test_the_log_has_a_line_for_each_message_and_no_secret(
    guarded: Service, caplog: pytest.LogCaptureFixture
) -> None:
    before = guarded.tasks()
    with caplog.at_level(logging.INFO):
        address = "/v1/responses?key=secret-of-the-query-0123456789"
        async with talking(guarded, address=address, additional_headers=dict(SIGNED_IN["token"])) as talk:
            response = await talk.ask(input=f"My token is {TOKEN}", store=False)
            await talk.refused(input="Hi", stream_id="lane")
        await settled(guarded, before)
    told = {record.getMessage().split(" in ")[0]: getattr(record, "fields", {}) for record in caplog.records}
    answered, refused, connection = [
        told[f"{kind} /v1/responses {status}"]
        for kind, status in (("response.create", 200), ("response.create", 400), ("GET", 101))
    ]
    assert answered["run_id"] == response["id"]
    assert refused["code"] == "unsupported_field"
    assert answered["connection"] == refused["connection"]
    assert connection["status"] == 101
    assert TOKEN not in caplog.text
    assert "secret-of-the-query" not in caplog.text


async def test_a_token_of_the_handshake_is_not_repeated_in_an_answer(guarded: Service) -> None:
    async with talking(guarded, additional_headers=dict(SIGNED_IN["token"])) as talk:
        response = await talk.ask(input=f"My token is {TOKEN}", store=False)
    assert TOKEN not in json.dumps(response)


# -- all middleware -------------------------------------------------------------------------------------------------

ONLY_HTTP = {
    # A browser asks for no permission before a handshake, so there is nothing to mark. `OriginGate` decides.
    ("cors", "Cors"),
    # A WebSocket is not passed on to a chat app.
    ("chat_proxy", "ChatProxy"),
}
"""What need not look at WebSockets."""


def looks_at_types() -> Iterator[tuple[str, str, str]]:
    """Every comparison with the type of a scope: the module, the class, and the comparison."""
    for file in sorted(SERVING.rglob("*.py")):
        for kind in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(kind, ast.ClassDef | ast.AsyncFunctionDef | ast.FunctionDef):
                continue
            for node in ast.walk(kind):
                if isinstance(node, ast.Compare) and "scope['type']" in ast.unparse(node.left):
                    yield file.stem, kind.name, ast.unparse(node)


def test_whatever_looks_at_requests_looks_at_websockets_too() -> None:
    found = [one for one in looks_at_types() if one[1][0].isupper()]
    assert {"RequestLog", "BearerGate", "HostGate", "OriginGate", "WholePath"} <= {name for _, name, _ in found}
    blind = {(module, name) for module, name, words in found if "websocket" not in words}
    assert blind == ONLY_HTTP


def test_every_middleware_is_a_class_that_is_looked_at() -> None:
    looked = {name for _, name, _ in looks_at_types()}
    for settings, environ in (
        (Settings(tracing="off", store="memory", cors_origins=NAMED), {}),
        (Settings(tracing="off", store="memory", bearer_token=TOKEN), {}),
        (Settings(tracing="off", store="memory"), {"DATABRICKS_APP_NAME": "agent"}),
    ):
        app = create_app(settings, {"a": talker()}, environ=environ)
        names = {getattr(one.cls, "__name__", "") for one in app.user_middleware}
        assert names <= looked
        assert "OriginGate" in names

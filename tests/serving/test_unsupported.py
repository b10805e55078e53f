"""Addresses of the APIs around the Responses API: each says what to use instead."""

import base64
import json
from urllib.parse import urlsplit

import anyio
import pytest
from tests.serving.conftest import Service
from tests.serving.test_requests import check_error, raw

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/v1/responses/resp_1/compact", "POST the history in `input` to /v1/responses/compact"),
        ("POST", "/responses/resp_1/input_tokens", "to /responses/input_tokens"),
        ("GET", "/v1/responses/resp_1/output_items", "the service has /invocations"),
        ("GET", "/v1/conversations/conv_1/messages", "the service has /invocations"),
        ("GET", "/v1/chat/completions/chatcmpl-1", "are not stored; POST to /v1/chat/completions"),
        ("POST", "/completions", "as `input` to /responses"),
        ("POST", "/v1/messages", "as `input` to /v1/responses"),
        ("GET", "/v1/models/plain/permissions", "GET /v1/models lists them"),
        ("POST", "/v1/files", "`file_data`"),
        ("POST", "/v1/embeddings", "/v1/responses"),
        ("POST", "/threads/t1/runs/stream", "graph-agent studio"),
        ("GET", "/nothing-of-the-kind", "the service has /invocations"),
        ("GET", "/v1", "the service has /invocations"),
    ],
)
async def test_an_address_that_is_not_served_says_what_to_use(
    service: Service, method: str, path: str, words: str
) -> None:
    async with service.client() as client:
        answer = await client.request(method, path, json={})
    check_error(answer, 404, "not_found")
    assert words in answer.json()["detail"]
    assert "{" not in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/models"), ("DELETE", "/models/plain")])
async def test_a_wrong_method_at_an_address_that_exists_says_which_ones_it_has(
    service: Service, method: str, path: str
) -> None:
    async with service.client() as client:
        answer = await client.request(method, path, json={})
    check_error(answer, 405, "method_not_allowed")
    assert "use GET" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/responses", "/v1/realtime", "/v1/responses/resp_1"])
async def test_a_websocket_handshake_is_told_where_there_is_one(service: Service, path: str) -> None:
    key = base64.b64encode(b"0123456789abcdef").decode()
    head, body = await raw(
        service,
        f"GET {path} HTTP/1.1\r\nHost: {urlsplit(service.url).netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade, close\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode(),
    )
    assert head.split()[1] == b"404"
    assert "is served at /v1/responses only" in json.loads(body)["detail"]


async def test_a_server_that_passes_a_websocket_on_gets_it_closed(service: Service) -> None:
    from graph_agent.serving.unsupported import OtherWebSockets

    async def app(*_: object) -> None:
        raise AssertionError("reached")

    sent: list[object] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/responses", "headers": []}
    with anyio.fail_after(20):
        await OtherWebSockets(app)(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]

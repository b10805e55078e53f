"""A chat app behind the service: which requests reach it, what it is told, and how its answers come back."""

import asyncio
import base64
import itertools
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.genai.agent_server import AgentServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from tests.serving.conftest import Service, serving
from tests.serving.test_page import INDEX, SCRIPT, build, graph
from tests.serving.test_requests import check_error, raw

from graph_agent import Settings
from graph_agent.errors import BadSetting, Unauthenticated
from graph_agent.identity.caller import Caller
from graph_agent.serving.app import create_app
from graph_agent.serving.chat_app import ChatApp
from graph_agent.serving.chat_tickets import ChatTickets
from graph_agent.testing.loopback import on_loopback

pytestmark = pytest.mark.anyio

TOKEN = "a-token-for-the-chat-app-tests"
PREFIXES = {"CHAT_PROXY_ALLOWED_PATH_PREFIXES": "/more/, /x", "CHAT_PROXY_ALLOWED_EXACT_PATHS": "/one,/two/, "}


@dataclass
class Chat:
    """A chat app that tells what it was asked."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    next: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop | None = None

    def say(self, word: str | None) -> None:
        """Send a piece of the running stream, or its end."""
        assert self.loop
        self.loop.call_soon_threadsafe(self.next.put_nowait, word)

    async def answer(self, request: Request) -> Response:
        """One of the answers that chat apps give."""
        self.loop = asyncio.get_running_loop()
        path = request.url.path
        self.asked.append(path)
        if path == "/api/stream":
            return StreamingResponse(self._pieces(), media_type="text/event-stream")
        if path == "/api/silent":
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.left.set()
        if path == "/api/redirect":
            return RedirectResponse("http://169.254.169.254/latest", status_code=302)
        if path == "/api/cookies":
            answer = JSONResponse({"cookie": request.headers.get("cookie")})
            answer.set_cookie("one", "1")
            answer.set_cookie("two", "2")
            return answer
        size = 0
        async for piece in request.stream():
            size += len(piece)
        about = {"method": request.method, "target": request.scope["raw_path"].decode(), "size": size}
        return JSONResponse(about | {"query": request.url.query, "headers": dict(request.headers)})

    async def _pieces(self) -> AsyncIterator[str]:
        try:
            while (word := await self.next.get()) is not None:
                yield word
        finally:
            self.left.set()


HANDSHAKE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@contextmanager
def chatting() -> Iterator[Chat]:
    chat = Chat()
    with on_loopback(Starlette(routes=[Route("/{path:path}", chat.answer, methods=METHODS)])) as url:
        chat.port = int(url.rpartition(":")[2])
        yield chat


@pytest.fixture(scope="module")
def chat() -> Iterator[Chat]:
    with chatting() as running:
        yield running


@pytest.fixture(scope="module")
def service(chat: Chat, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environ = {"CHAT_APP_PORT": str(chat.port), "CHAT_PROXY_TIMEOUT_SECONDS": "2"}
    folder = build(tmp_path_factory.mktemp("page"))
    (folder / "index.html").write_text(f'<meta name="service" content="./" />{INDEX}')
    with serving(environ, page_folder=folder, max_body_bytes=1_000_000) as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def client_of(environ: dict[str, str], **settings: Any) -> Iterator[TestClient]:
    """A client of an app in this process."""
    app = create_app(Settings(tracing="off", store="memory", **settings), {"mine": graph()}, environ=environ)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


# -- which requests reach it ------------------------------------------------------------------------------------


def agent_servers_answer(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, paths: list[str]
) -> list[str | None]:
    """The paths that MLflow's own server passes on, as it passes them."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    passed: list[str] = []

    def upstream(request: httpx.Request) -> httpx.Response:
        passed.append(httpx.URL(request.url).path)
        return httpx.Response(200)

    server = AgentServer(enable_chat_proxy=True)
    server.proxy_client = httpx.AsyncClient(transport=httpx.MockTransport(upstream))

    async def ask(path: str) -> str | None:
        passed.clear()
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"x")]}
        await server.app(scope, _nothing, _ignored)
        return passed[0] if passed else None

    async def ask_all() -> list[str | None]:
        return [await ask(path) for path in paths]

    return asyncio.run(ask_all())


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _ignored(message: Any) -> None:
    pass


def generated_paths() -> list[str]:
    """Paths of words, dots and slashes, which MLflow's own routes do not match."""
    words = ["assets", "api", "chat", "ping", "favicon.ico", "one", "two", "more", "x", "xy", "..", ".", "", "a b", "é"]
    few = ["/" + "/".join(parts) for n in (1, 2) for parts in itertools.product(words, repeat=n)]
    choose = random.Random(7)
    many = ["/" + "/".join(choose.choices(words, k=choose.randint(3, 5))) for _ in range(250)]
    return [*few, *many, "/assets%2f..", "/Assets/a", "/assetsx/a", "/api/..\\secret", "/chat/%2e%2e/a"]


@pytest.mark.parametrize("more", [{}, PREFIXES])
def test_the_same_paths_reach_it_as_behind_mlflows_own_server(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    paths = generated_paths()
    chat = ChatApp.from_environment({"CHAT_APP_PORT": "3000"} | more)
    assert chat is not None
    theirs = agent_servers_answer({"CHAT_APP_PORT": "3000"} | more, monkeypatch, paths)
    ours = [chat.path_of(path) for path in paths]
    differ = [(path, a, b) for path, a, b in zip(paths, ours, theirs, strict=True) if _decoded(a) != _decoded(b)]
    assert differ == []
    assert len(paths) > 400
    assert 100 < sum(path is not None for path in ours) < 400


# MLflow sends `%2e%2e` as it is, so that its chat app sees `..`. Here the percent sign is encoded.
def _decoded(path: str | None) -> str | None:
    return None if path is None else path.replace("%2e", ".").replace("%20", " ")


@pytest.mark.parametrize(
    ("target", "reached"),
    [
        ("/", "/"),
        ("/chat/a%20b%3Fc", "/chat/a%20b%3Fc"),
        ("/assets/%252e%252e%252fsecret", "/assets/%252e%252e%252fsecret"),
        ("/assets/..%5c..%5csecret", "/assets/..%5C..%5Csecret"),
        ("/chat/../api/x", "/api/x"),
        ("/assets/../secret", None),
        ("/assets/%2e%2e/secret", None),
        ("/assets/..%2fsecret", None),
        ("/assets%2f..%2f..%2fsecret", None),
        ("//assets/x", None),
        ("/secret", None),
        ("/assets", None),
        ("http://other/assets/x", None),
    ],
)
async def test_no_path_escapes_from_the_list(service: Service, chat: Chat, target: str, reached: str | None) -> None:
    before = len(chat.asked)
    head, body = await raw(service, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    if reached is None:
        assert (head.split()[1], len(chat.asked)) == (b"404", before)
        assert b'"not_found"' in body
    else:
        assert head.split()[1] == b"200"
        assert f'"target":"{reached}"'.encode() in body


async def test_the_services_own_addresses_stay_its_own(service: Service, chat: Chat) -> None:
    before = len(chat.asked)
    async with service.client() as client:
        health, wrong = await client.get("/health"), await client.get("/api/responses")
        socket = await client.get("/api/x", headers=HANDSHAKE)
    assert health.status_code == 200
    check_error(wrong, 405, "method_not_allowed", None)
    check_error(socket, 404, "not_found", None)
    assert len(chat.asked) == before


async def test_the_page_moves_and_finds_its_files_and_the_api(service: Service) -> None:
    async with service.client(follow_redirects=True) as client:
        page, script = await client.get("/page"), await client.get("/page/assets/index-abc123.js")
        settings, root = await client.get("/page/settings.json"), await client.get("/")
    assert page.url.path == "/page/"
    assert page.text == f'<meta name="service" content="../" />{INDEX}'
    assert script.text == SCRIPT
    assert settings.json()["title"] == "graph-agent"
    assert root.json()["target"] == "/"


# -- what it is told --------------------------------------------------------------------------------------------


async def test_it_gets_the_request_with_the_headers_of_the_platform_and_without_credentials(service: Service) -> None:
    sent = {
        "authorization": "Bearer a-secret-of-the-service",
        "proxy-authorization": "Basic secret",
        "connection": "close, x-mine, x-forwarded-user, content-type",
        "x-mine": "1",
        "te": "trailers",
        "x-forwarded-user": "ada",
        "x-forwarded-access-token": "token-of-ada",
        "cookie": "a=1",
        "accept-encoding": "br",
    }
    async with service.client() as client:
        answer = await client.post("/api/chat?a=1&a=2&b=%2F", json={"text": "é"}, headers=sent)
    about = answer.json()
    assert (about["method"], about["target"], about["query"]) == ("POST", "/api/chat", "a=1&a=2&b=%2F")
    assert about["size"] == len('{"text":"é"}'.encode())
    got = about["headers"]
    kept = ("x-forwarded-user", "x-forwarded-access-token", "cookie", "accept-encoding")
    assert {name: got.get(name) for name in kept} == {name: sent[name] for name in kept}
    assert got["content-type"] == "application/json"
    assert got["host"].startswith("localhost:")
    assert not {"authorization", "proxy-authorization", "x-mine", "te"} & set(got)
    assert len(answer.headers.get_list("date")) == 1


async def test_cookies_of_one_caller_are_all_kept_and_never_sent_for_another(service: Service) -> None:
    async with service.client() as client:
        first = await client.get("/api/cookies")
    async with service.client() as client:
        second = await client.get("/api/cookies")
    assert len(first.headers.get_list("set-cookie")) == 2
    assert second.json() == {"cookie": None}


async def test_a_redirect_is_left_to_the_browser(service: Service) -> None:
    async with service.client() as client:
        answer = await client.get("/api/redirect")
    assert (answer.status_code, answer.headers["location"]) == (302, "http://169.254.169.254/latest")


async def test_a_large_body_is_passed_on_and_a_larger_one_is_refused(service: Service) -> None:
    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(100_000)

    async with service.client() as client:
        passed = await client.post("/api/files", content=pieces(10))
        declared = await client.put("/api/files", content=bytes(1_000_001))
        streamed = await client.post("/api/files", content=pieces(11))
    assert passed.json()["size"] == 1_000_000
    check_error(declared, 413, "body_too_large", None)
    check_error(streamed, 413, "body_too_large", None)


# -- for whom it asks, on Databricks Apps -----------------------------------------------------------------------

APPS = {"DATABRICKS_APP_NAME": "agent", "DATABRICKS_CLIENT_SECRET": "a-secret-of-the-app"}
TOKEN_HEADER = "x-forwarded-access-token"


@pytest.fixture(scope="module")
def on_apps(chat: Chat) -> Iterator[TestClient]:
    with client_of({"CHAT_APP_PORT": str(chat.port)} | APPS) as client:
        yield client


def handed_over(client: TestClient, **headers: str) -> str | None:
    """What the chat app gets in the header of the user's token, for a request with these headers."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post("/api/chat", json={}, headers=sent)
    assert answer.status_code == 200
    token: str | None = answer.json()["headers"].get(TOKEN_HEADER)
    return token


def asked_by_the_chat_app(client: TestClient, token: str, **more: Any) -> httpx.Response:
    """What the stock chat app sends to the service: on this machine, without the headers of the proxy."""
    body = {"input": [{"role": "user", "content": "hello"}]} | more
    answer: httpx.Response = client.post(
        "/invocations", json=body, headers={"authorization": f"Bearer {token}", TOKEN_HEADER: token}
    )
    return answer


def conversations(client: TestClient, user: str) -> list[str]:
    return [one["id"] for one in client.get("/v1/conversations", headers={"x-forwarded-user": user}).json()["data"]]


def test_what_it_asks_belongs_to_the_user_whom_the_platform_names(on_apps: TestClient) -> None:
    ticket = handed_over(on_apps, x_forwarded_user="ada", x_forwarded_email="ada@example.com")
    assert ticket is not None
    answer = asked_by_the_chat_app(on_apps, ticket, context={"conversation_id": "c1", "user_id": "bob"})
    assert answer.status_code == 200
    assert (conversations(on_apps, "ada"), conversations(on_apps, "bob")) == (["c1"], [])


def test_workers_of_one_app_read_each_others_tickets_and_no_other_app_does(chat: Chat, on_apps: TestClient) -> None:
    ticket = handed_over(on_apps, x_forwarded_user="ada")
    assert ticket is not None
    port = {"CHAT_APP_PORT": str(chat.port)}
    with client_of(port | APPS) as worker, client_of(port | APPS | {"DATABRICKS_CLIENT_SECRET": "b"}) as other:
        assert asked_by_the_chat_app(worker, ticket).status_code == 200
        check_error(asked_by_the_chat_app(other, ticket), 401, "unauthenticated", None)


def test_a_token_of_the_user_is_handed_over_as_it_is(on_apps: TestClient) -> None:
    assert handed_over(on_apps, x_forwarded_user="ada", x_forwarded_access_token="token-of-ada") == "token-of-ada"


def test_nobody_gets_a_ticket_whom_the_platform_does_not_name(chat: Chat, on_apps: TestClient) -> None:
    assert handed_over(on_apps, x_forwarded_email="ada@example.com") is None
    with client_of({"CHAT_APP_PORT": str(chat.port)}) as elsewhere:
        assert handed_over(elsewhere, x_forwarded_user="ada") is None
    two = [("x-forwarded-user", "ada"), ("x-forwarded-user", "bob")]
    check_error(on_apps.get("/api/config", headers=two), 401, "unauthenticated", None)


def test_a_stolen_ticket_is_worth_nothing_through_the_platform(on_apps: TestClient) -> None:
    stolen = handed_over(on_apps, x_forwarded_user="bo")
    assert stolen is not None
    headers = {"x-forwarded-user": "eve", TOKEN_HEADER: stolen}
    body = {"input": "hello", "context": {"conversation_id": "stolen"}}
    assert on_apps.post("/invocations", json=body, headers=headers).status_code == 200
    assert (conversations(on_apps, "bo"), conversations(on_apps, "eve")) == ([], ["stolen"])
    # The chat app gets a ticket for who sends the request, and none for nobody.
    renewed = handed_over(on_apps, **{"x_forwarded_user": "eve", "x_forwarded_access_token": stolen})
    assert renewed not in (None, stolen)
    assert handed_over(on_apps, x_forwarded_access_token=stolen) is None


@pytest.mark.parametrize("change", ["user", "signature", "nothing", "no ascii"])
def test_a_ticket_that_was_tampered_with_is_refused(on_apps: TestClient, change: str) -> None:
    ticket = handed_over(on_apps, x_forwarded_user="ada")
    assert ticket is not None
    beginning, said, signature = ticket.split("~")
    bob = base64.urlsafe_b64encode(base64.urlsafe_b64decode(said).replace(b"ada", b"bob")).decode()
    changed = {
        "user": f"{beginning}~{bob}~{signature}",
        "signature": f"{beginning}~{said}~{signature[::-1]}",
        "nothing": f"{beginning}~",
        "no ascii": f"{beginning}~é~{signature}",
    }[change]
    headers = [(TOKEN_HEADER.encode(), changed.encode("latin-1"))]
    answer = on_apps.post("/invocations", json={"input": "hello"}, headers=headers)
    check_error(answer, 401, "unauthenticated", None)
    assert "not made by this service" in answer.text


def test_a_ticket_expires() -> None:
    now = 1_000.0
    tickets = ChatTickets(b"k" * 32, clock=lambda: now)
    ticket = tickets.write(Caller("Zoë ☃", None, "apps"))
    now += 899
    assert tickets.read(ticket) == Caller("Zoë ☃", None, "apps")
    now += 1
    with pytest.raises(Unauthenticated, match="expired"):
        tickets.read(ticket)


@pytest.mark.parametrize("authorization", ["user", "user-required"])
def test_a_ticket_is_not_the_users_token(chat: Chat, authorization: Any) -> None:
    with client_of({"CHAT_APP_PORT": str(chat.port)} | APPS, authorization=authorization) as client:
        ticket = handed_over(client, x_forwarded_user="ada")
        assert ticket is not None
        answer = asked_by_the_chat_app(client, ticket)
    assert answer.status_code == (200 if authorization == "user" else 401)


# -- how its answers come back ----------------------------------------------------------------------------------


async def test_a_stream_arrives_piece_by_piece(service: Service, chat: Chat) -> None:
    async with service.client() as client, client.stream("GET", "/api/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        received = answer.aiter_text()
        for word in ("data: one\n\n", "data: two\n\n"):
            # Only after the piece before it has arrived.
            chat.say(word)
            assert await asyncio.wait_for(anext(received), 5) == word
        chat.say(None)
        assert [rest async for rest in received] == []


@pytest.mark.parametrize("path", ["/api/silent", "/api/stream"])
async def test_a_client_that_leaves_ends_the_request_to_the_chat_app(service: Service, chat: Chat, path: str) -> None:
    chat.left.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", int(service.url.rpartition(":")[2]))
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx".encode())
    before = len(chat.asked)
    await writer.drain()
    for _ in range(500):
        if len(chat.asked) > before or chat.asked[-1:] == [path]:
            break
        await asyncio.sleep(0.02)
    writer.close()
    for _ in range(500):
        if chat.left.is_set():
            break
        await asyncio.sleep(0.02)
    assert chat.left.is_set()


async def test_a_silent_chat_app_is_an_error_after_the_timeout() -> None:
    with chatting() as chat:
        environ = {"CHAT_APP_PORT": str(chat.port), "CHAT_PROXY_TIMEOUT_SECONDS": "0.1"}
        with client_of(environ) as client:
            answer = client.get("/api/silent")
    check_error(answer, 502, "chat_app_failed", None)
    assert "CHAT_PROXY_TIMEOUT_SECONDS" in answer.text


async def test_an_answer_that_breaks_off_has_no_end() -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    async with server:
        with serving({"CHAT_APP_PORT": str(server.sockets[0].getsockname()[1])}) as service:
            with pytest.raises(httpx.RemoteProtocolError):
                async with service.client() as client:
                    await client.get("/api/x")
            assert any("broke off its answer" in line for line in service.log)
            assert not any("Traceback" in line for line in service.log)


def test_a_chat_app_that_is_not_there_is_an_error_that_says_so() -> None:
    with client_of({"CHAT_APP_PORT": str(free_port())}) as client:
        answer = client.get("/")
        check_error(answer, 503, "chat_app_unavailable", None)
        assert "CHAT_APP_PORT" in answer.text
        assert answer.headers["retry-after"]
        assert client.get("/health").status_code == 200


async def test_a_service_that_is_its_own_chat_app_notices(tmp_path: Path) -> None:
    port = free_port()
    app = create_app(Settings(tracing="off", store="memory"), {"mine": graph()}, environ={"CHAT_APP_PORT": str(port)})
    with on_loopback(app, port=port) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            answer = await client.get("/api/x")
    check_error(answer, 502, "chat_app_failed", None)
    assert "the port of this service" in answer.text


# -- who may ask, and settings ----------------------------------------------------------------------------------


def test_the_token_protects_it_and_the_page_below_stays_public(chat: Chat) -> None:
    with client_of({"CHAT_APP_PORT": str(chat.port)}, bearer_token=TOKEN) as client:
        refused = [client.get(path).status_code for path in ("/", "/assets/x.js", "/api/chat", "/chat/1")]
        public = [client.get(path).status_code for path in ("/page", "/page/", "/page/settings.json")]
        allowed = client.get("/", headers={"authorization": f"Bearer {TOKEN}"})
    assert refused == [401] * 4
    assert 401 not in public
    assert "authorization" not in allowed.json()["headers"]


def test_a_page_of_another_site_does_not_reach_it(chat: Chat) -> None:
    before = len(chat.asked)
    with client_of({"CHAT_APP_PORT": str(chat.port)}) as client:
        check_error(client.post("/api/chat", headers={"origin": "https://evil.example"}), 403, "foreign_page", None)
    assert len(chat.asked) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHAT_APP_PORT", "0"),
        ("CHAT_APP_PORT", "localhost:3000"),
        ("CHAT_APP_PORT", "70000"),
        ("CHAT_PROXY_TIMEOUT_SECONDS", "0"),
        ("CHAT_PROXY_TIMEOUT_SECONDS", "inf"),
        ("CHAT_PROXY_TIMEOUT_SECONDS", "long"),
        ("CHAT_PROXY_ALLOWED_EXACT_PATHS", "/a,b"),
        ("CHAT_PROXY_ALLOWED_PATH_PREFIXES", "assets/"),
    ],
)
def test_a_wrong_setting_stops_the_start(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        create_app(Settings(store="memory"), {"mine": graph()}, environ={"CHAT_APP_PORT": "3000"} | {name: value})

"""Webhooks of a service: who may ask for one, and that it is told when a run in the background has ended."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from standardwebhooks import Webhook
from tests.durable.conftest import (  # noqa: F401
    Tables,
    own_postgres,
    postgres,
    sqlite,
)
from tests.serving.approving import approving, asked
from tests.serving.conftest import GRAPHS, Service, serving
from tests.serving.test_background import ended, until
from tests.serving.test_process import ready
from tests.webhooks.receiving import SECRET, Receiver, receiving

from graph_agent.errors import AgentError
from graph_agent.serving.app import create_app
from graph_agent.settings import Settings


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def file_of(folder: Path, receiver: Receiver) -> Path:
    file = folder / "webhooks.toml"
    file.write_text(f'[webhooks.here]\nurl = "{receiver.url}"\nsecret_variables = ["HOOK_OF_A_TEST"]\n')
    return file


@pytest.fixture(scope="module")
def service(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    file = file_of(tmp_path_factory.mktemp("hooks"), receiver)
    with serving({"HOOK_OF_A_TEST": SECRET}, webhooks=file) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=10) as client:
        yield client


def posted(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post(
        "/responses", json={"model": "team", "input": "Weather?", "metadata": {"webhook": "here"}, **fields}
    )


def about(receiver: Receiver, response: str) -> list[Any]:
    return [one for one in list(receiver.messages) if one.event["data"]["id"] == response]


def test_a_background_run_tells_its_target_when_it_has_ended(http: httpx.Client, receiver: Receiver) -> None:
    queued = posted(http, background=True)
    assert queued.status_code == 200, queued.text
    response = queued.json()["id"]
    [message] = until(lambda: about(receiver, response))
    assert Webhook(SECRET).verify(message.body, message.headers)["type"] == "response.completed"
    assert http.get(f"/responses/{response}").json()["status"] == "completed"


def test_a_cancelled_run_tells_its_target(http: httpx.Client, receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        body = {"model": "upstream", "custom_inputs": {"upstream": f"http://127.0.0.1:{silent.getsockname()[1]}"}}
        response = posted(http, background=True, **body).json()["id"]
        assert http.post(f"/responses/{response}/cancel", json={}).status_code == 200
        [message] = until(lambda: about(receiver, response))
    assert message.event["type"] == "response.cancelled"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metadata": {"webhook": "where"}, "background": True}, "known: here."),
        ({"metadata": {"webhook": "where"}}, "known: here."),
        ({}, "send `background: true` with it"),
        ({"background": False, "stream": True}, "send `background: true` with it"),
    ],
)
@pytest.mark.parametrize("address", ["/v1/responses", "/responses", "/invocations"])
def test_a_webhook_that_would_never_be_sent_is_refused(
    http: httpx.Client, address: str, fields: Mapping[str, Any], words: str
) -> None:
    body = {"model": "team", "input": "Weather?", "metadata": {"webhook": "here"}, **fields}
    refused = http.post(address, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "metadata.webhook")
    assert words in refused.json()["error"]["message"]


def test_a_caller_that_prefers_not_to_wait_may_ask_for_a_webhook(http: httpx.Client, receiver: Receiver) -> None:
    body = {"model": "team", "input": "Weather?", "metadata": {"webhook": "here"}}
    answer = http.post("/responses", json=body, headers={"prefer": "respond-async"})
    assert answer.status_code in (200, 202)
    [message] = until(lambda: about(receiver, answer.json()["id"]))
    assert message.event["type"] == "response.completed"


def test_a_service_without_targets_refuses_a_webhook_and_says_why() -> None:
    with serving() as service, httpx.Client(base_url=service.url) as http:
        refused = posted(http, background=True)
    assert refused.status_code == 400
    assert "the service has no file of webhooks" in refused.json()["error"]["message"]


def test_a_run_that_asks_a_person_has_ended_for_its_webhook(receiver: Receiver, tmp_path: Path) -> None:
    environ, file = {"HOOK_OF_A_TEST": SECRET}, file_of(tmp_path, receiver)
    with (
        approving(tmp_path, environ=environ, webhooks=file) as service,
        httpx.Client(base_url=service.url, timeout=10) as http,
    ):
        response = posted(http, model="mail", input="send:ann", background=True).json()["id"]
        [message] = until(lambda: about(receiver, response))
        assert len(asked(ended(http, f"/responses/{response}"))) == 1
    assert message.event["type"] == "response.completed"


@pytest.mark.anyio
async def test_a_wrong_file_stops_the_start_and_says_everything_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "webhooks.toml"
    file.write_text('[webhooks.a]\nurl = "http://example.com"\nsecret_variables = ["NOT_SET"]\n')
    settings = Settings(config=GRAPHS, store="memory", tracing="off", webhooks=file)
    message = (await failed_start(settings)).message
    assert "webhooks.toml (GRAPH_AGENT_WEBHOOKS)" in message
    assert "`webhooks.a.url` must be https" in message
    assert "NOT_SET is not set" in message


async def failed_start(settings: Settings, **options: Any) -> AgentError:
    """Why the app does not start."""
    failed: asyncio.Future[AgentError] = asyncio.get_running_loop().create_future()
    app = create_app(settings, environ={}, on_failed_start=failed.set_result, **options)
    async with app.router.lifespan_context(app), asyncio.timeout(30):
        return await failed


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_process_that_is_killed_before_it_has_told_is_followed_by_one_that_tells(
    kind: str, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tables: Tables = request.getfixturevalue(kind)
    environ = {**tables.environ, "HOOK_OF_A_TEST": SECRET, "GRAPH_AGENT_WEBHOOKS": str(file_of(tmp_path, receiver))}
    # The first answer comes after the process is gone. So the message was sent, and nobody knows.
    before, receiver.before_answer = len(receiver.messages), lambda: time.sleep(3)
    async with ready(**environ) as first:
        async with first.client() as client:
            body = {"model": "team", "input": "Weather?", "background": True, "metadata": {"webhook": "here"}}
            response = (await client.post("/responses", json=body)).json()["id"]
        [sent] = (await anyio.to_thread.run_sync(receiver.got, before + 1))[before:]
        first.process.send_signal(signal.SIGKILL)
        await first.ended()
    receiver.before_answer = lambda: None
    # As after the minute for which it belonged to that process.
    tables.execute("UPDATE webhook_deliveries SET due_at = 0")
    async with ready(**environ):
        [again] = (await anyio.to_thread.run_sync(receiver.got, before + 2))[before + 1 :]
        assert (again.id, again.event) == (sent.id, sent.event)
        assert again.event["data"]["id"] == response
        with anyio.fail_after(20):
            while tables.rows("SELECT 1 FROM webhook_deliveries"):  # noqa: ASYNC110 - of another process
                await anyio.sleep(0.02)

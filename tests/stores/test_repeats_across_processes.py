"""Requests that several processes on one PostgreSQL get: the same one begins one run."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving.conftest import Service, Upstream, serving, upstream_server
from tests.serving.test_idempotency import ADDRESSES, NOTING, Asker, events_of
from tests.serving.test_process import ready
from tests.serving.test_repeated_requests import Page
from tests.stores.postgres_server import PostgresServer, postgres_server

pytestmark = pytest.mark.anyio

SCHEMA = f"repeats_{secrets.token_hex(4)}"

WRITES, WAITS = "EventStreamResponse._write", "_last_response"
"""The tasks that answer a request with the run of an earlier one."""

NAMED = {"context": {"conversation_id": "named", "user_id": "somebody"}}


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def services(database: PostgresServer) -> Iterator[list[Service]]:
    """Two services on one database. In the second one, requests wait for a busy conversation."""
    options: dict[str, Any] = {"config": NOTING, "store": database.url, "store_schema": SCHEMA}
    with serving(**options) as one, serving(**options, busy="wait") as other:
        yield [one, other]


@pytest.fixture
async def clients(services: list[Service]) -> AsyncIterator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(one.client()) for one in services]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with upstream_server() as running:
        yield running


@pytest.mark.parametrize("named", [{}, NAMED], ids=["new conversation", "named conversation"])
async def test_a_key_that_is_posted_fifty_times_at_once_to_two_processes_begins_one_run(
    database: PostgresServer, tmp_path: Path, named: dict[str, Any]
) -> None:
    settings = {"GRAPH_AGENT_STORE": database.url, "GRAPH_AGENT_STORE_SCHEMA": f"fifty_{secrets.token_hex(4)}"}
    asker = Asker(tmp_path)
    async with (
        ready("--config", str(NOTING), **settings) as first,
        ready("--config", str(NOTING), **settings) as second,
        first.client() as one,
        second.client() as other,
    ):
        one.timeout = other.timeout = 60
        posts = [asker.post((one, other)[number % 2], stream=number % 4 < 2, **named) for number in range(50)]
        answers = await asyncio.gather(*posts)
    responses = [
        events_of(answer)[-1]["response"] if number % 4 < 2 else answer.json() for number, answer in enumerate(answers)
    ]
    assert all(response["status"] == "completed" for response in responses)
    assert (len({response["id"] for response in responses}), asker.runs) == (1, 1)


@pytest.mark.parametrize("first", [0, 1])
async def test_another_process_joins_the_run_of_a_key_and_the_one_of_a_broken_stream(
    services: list[Service], clients: list[httpx.AsyncClient], upstream: Upstream, tmp_path: Path, first: int
) -> None:
    here, there = clients[first], clients[1 - first]
    with anyio.fail_after(20):
        for asker, key in (
            (Asker(tmp_path / "asker", wait=upstream.url), ""),
            (Page(tmp_path, wait=upstream.url), None),
        ):
            asker.key = f"{asker.key}{first}"
            upstream.asked.clear()
            asking = asyncio.create_task(asker.post(here, key=key, stream=True))
            await upstream.asked.wait()
            joining = [asyncio.create_task(asker.post(there, key=key, stream=stream)) for stream in (True, False)]
            while not {WRITES, WAITS} <= services[1 - first].tasks():  # noqa: ASYNC110 - tasks of another loop
                await asyncio.sleep(0.02)
            upstream.end()
            events, stream, whole = [await one for one in (asking, *joining)]
            assert events_of(stream) == events_of(events)
            assert whole.json() == events_of(events)[-1]["response"]
            assert asker.runs == 1


@pytest.mark.parametrize("address", ADDRESSES)
async def test_another_process_tells_how_a_run_failed_and_does_not_run_its_tool_again(
    clients: list[httpx.AsyncClient], tmp_path: Path, address: str
) -> None:
    here, there = clients
    for asker, key in ((Asker(tmp_path / "asker", address, fail=True), ""), (Page(tmp_path, address, fail=True), None)):
        events = events_of(await asker.post(here, key=key, stream=True))
        again = await asker.post(there, key=key)
        assert (again.status_code, again.json()["error"]["code"]) == (500, "graph_failed")
        assert events_of(await asker.post(there, key=key, stream=True)) == events
        assert asker.runs == 1


async def test_another_process_tries_a_run_again_that_failed_without_a_tool(
    clients: list[httpx.AsyncClient], tmp_path: Path
) -> None:
    page = Page(tmp_path, fail=True, tool=False)
    for client in clients:
        assert (await page.again(client)).status_code == 500
    assert page.runs == 2


async def test_another_process_refuses_a_key_with_another_body(
    clients: list[httpx.AsyncClient], tmp_path: Path
) -> None:
    asker = Asker(tmp_path)
    here, there = clients
    assert (await asker.post(here)).status_code == 200
    refused = await asker.post(there, input="Else?")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_key_used")
    assert asker.runs == 1

"""What happens between a request's first byte and its run: slots, memory, and who has left meanwhile."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from tests.serving.conftest import Service, Upstream, run_head
from tests.serving.test_requests import JSON, QUESTION, connect

from graph_agent.errors import RunCancelled
from graph_agent.protocol.json_decoding import Pulse
from graph_agent.serving.body_parsing import parse_body
from graph_agent.serving.limits import MOST_BODIES

pytestmark = pytest.mark.anyio

PADDING = [{"role": "user", "content": "word " * 400}] * 4
"""Makes a body large enough to be parsed in a thread."""


def refused_bodies() -> list[bytes]:
    """Each is refused at another place, small and large ones."""
    bodies: list[dict[str, Any]] = [
        {"input": [*PADDING, {"role": "nobody", "content": "x"}]},
        {"input": PADDING, "unknown": 1},
        {"input": PADDING, "background": True, "store": False},
        {"input": [*PADDING, {"role": "user", "content": [{"type": "hologram"}]}]},
        {"model": "upstream", "input": PADDING, "custom_inputs": {"node": "sync"}},
        {"model": "upstream", "input": "Hi", "custom_inputs": {"node": "sync"}},
        {"input": ""},
        {},
    ]
    return [*(json.dumps(body).encode() for body in bodies), b"{" + b" " * 10_000, b"\xff" * 10_000, b"["]


async def test_a_request_that_is_refused_gives_its_slot_back_wherever_that_was(serve: Callable[..., Any]) -> None:
    with serve(max_runs=2) as service:
        async with service.client() as client:
            for address in ("/responses", "/invocations", "/v1/responses"):
                for body in refused_bodies():
                    for _ in range(3):
                        answer = await client.post(address, content=body, headers=JSON)
                        assert answer.status_code == 400, body[:100]
            large = await client.post("/responses", json={"model": "plain", "input": PADDING})
            assert large.status_code == 200


async def test_a_service_that_is_full_reads_no_large_body(serve: Callable[..., Any], upstream: Upstream) -> None:
    slow = {"model": "upstream", "input": "Hi", "custom_inputs": {"upstream": upstream.url}}
    with serve(max_runs=1) as service:
        async with service.client() as client, anyio.create_task_group() as group:
            group.start_soon(lambda: client.post("/responses", json=slow))
            with anyio.fail_after(20):
                await upstream.asked.wait()
                reader, writer = await connect(service)
                # Nothing but its head is sent.
                writer.write(run_head(5_000_000))
                assert b" 429 " in await reader.readline()
            writer.close()
            upstream.end()


async def test_a_service_holds_no_more_than_so_many_bodies_at_once(serve: Callable[..., Any]) -> None:
    with serve(max_body_bytes=1_000, max_runs=100) as service:
        senders = []
        for _ in range(MOST_BODIES + 1):
            _, writer = await connect(service)
            writer.write(run_head(1_000) + b"x" * 990)
            senders.append(writer)
        async with service.client() as client:
            with anyio.fail_after(20):
                padded = QUESTION | {"user": "u" * 500}
                while (answer := await client.post("/responses", json=padded)).status_code == 200:
                    pass
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_runs")
        assert answer.headers["retry-after"] == "2"
        for writer in senders:
            writer.close()
            await writer.wait_closed()
        async with service.client() as client:
            with anyio.fail_after(20):
                while (await client.post("/responses", json=QUESTION)).status_code != 200:
                    pass


async def test_a_body_of_unknown_length_is_held_to_the_same(serve: Callable[..., Any]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield json.dumps({"model": "plain", "input": PADDING}).encode()

    with serve(max_runs=1) as service:
        async with service.client() as client:
            for _ in range(3):
                assert (await client.post("/responses", content=chunks(), headers=JSON)).status_code == 200


@pytest.mark.parametrize("length", ["1" * 5_000, "9" * 30, "+5", "-1", "5e3", "0x5", " ", "٣"])
async def test_a_length_that_cannot_be_is_refused(service: Service, length: str) -> None:
    reader, writer = await connect(service)
    writer.write(run_head("X").replace(b"X", length.encode()) + b"{}")
    with anyio.fail_after(20):
        line = await reader.readline()
    writer.close()
    assert line.split()[1] in (b"400", b"413")


# -- whose sender leaves ----------------------------------------------------------------------------------------


async def test_parsing_stops_when_the_sender_leaves() -> None:
    began, ended, left = threading.Event(), threading.Event(), asyncio.Event()

    def endless(*, pulse: Pulse) -> None:
        try:
            while True:
                began.set()
                pulse()
        finally:
            ended.set()

    async def receive() -> dict[str, str]:
        await left.wait()
        return {"type": "http.disconnect"}

    with anyio.fail_after(20):
        parsing = asyncio.ensure_future(parse_body(endless, receive))
        assert await asyncio.to_thread(began.wait, 5)
        left.set()
        with pytest.raises(RunCancelled):
            await parsing
        assert await asyncio.to_thread(ended.wait, 5)


async def test_a_request_that_is_cancelled_stops_parsing() -> None:
    began, ended = threading.Event(), threading.Event()

    def endless(*, pulse: Pulse) -> None:
        try:
            while True:
                began.set()
                pulse()
        finally:
            ended.set()

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    with anyio.fail_after(20):
        parsing = asyncio.ensure_future(parse_body(endless, receive))
        assert await asyncio.to_thread(began.wait, 5)
        parsing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await parsing
        assert await asyncio.to_thread(ended.wait, 5)


async def test_what_parsing_raises_reaches_the_caller() -> None:
    def failing(*, pulse: Pulse) -> None:
        raise ValueError("no")

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(ValueError, match="no"):
        await parse_body(failing, receive)


async def test_a_sender_that_leaves_while_its_history_is_read_gives_its_slot_back(serve: Callable[..., Any]) -> None:
    history = json.dumps({"input": [{"role": "user", "content": "eyJ." * 100}] * 9_000}).encode()
    with serve(max_runs=1) as service:
        for _ in range(3):
            _, writer = await connect(service)
            writer.write(run_head(len(history)) + history)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        async with service.client() as client:
            with anyio.fail_after(20):
                while (await client.post("/responses", json=QUESTION)).status_code != 200:
                    pass
        assert service.log == []

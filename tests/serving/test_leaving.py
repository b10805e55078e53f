"""A caller who leaves takes the run along: the graph, its model call and the slot it held."""

import asyncio
import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from tests.serving.conftest import Service, Upstream, ask, leave, run_head, serving, settled
from tests.wire import frames

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service in which no stream waits for its reader to come back."""
    with serving(grace_seconds=0.0) as running:
        yield running


MODES = pytest.mark.parametrize("stream", [True, False], ids=["stream", "reply"])
ADDRESSES = pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])


@ADDRESSES
@MODES
async def test_the_models_connection_is_closed_when_the_caller_leaves(
    service: Service, upstream: Upstream, address: str, stream: bool
) -> None:
    before = service.tasks()
    with anyio.fail_after(20):
        _, writer = await ask(service, upstream, address=address, stream=stream)
        upstream.say("Half")
        # Neither the model nor the run would ever end by itself.
        await leave(writer)
        await upstream.left.wait()
        await settled(service, before)
    assert service.log == []


@MODES
async def test_a_synchronous_node_stops_at_its_models_next_token(
    service: Service, upstream: Upstream, stream: bool
) -> None:
    before = service.tasks()
    with anyio.fail_after(20):
        _, writer = await ask(service, upstream, stream=stream, custom_inputs={"node": "sync"})
        upstream.say("One")
        await leave(writer)
        await settled(service, before)
        upstream.say("Two")
        await upstream.left.wait()


@MODES
async def test_a_slot_is_free_as_soon_as_its_caller_has_left(
    serve: Callable[..., Any], upstream: Upstream, stream: bool
) -> None:
    with serve(max_runs=1, grace_seconds=0.0) as service:
        before = service.tasks()
        with anyio.fail_after(20):
            _, writer = await ask(service, upstream, stream=stream, custom_inputs={"node": "blocking"})
            await leave(writer)
            await settled(service, before)
            async with service.client() as client:
                answer = await client.post("/responses", json={"model": "plain", "input": "Hi"})
        assert answer.status_code == 200
        upstream.end()
        await upstream.close()


async def test_a_synchronous_node_that_sleeps_is_left_behind_at_its_time(
    serve: Callable[..., Any], upstream: Upstream
) -> None:
    body = {"model": "upstream", "input": "Hi", "custom_inputs": {"upstream": upstream.url, "node": "blocking"}}
    with serve(max_seconds=0.3, max_runs=1) as service:
        async with service.client() as client:
            with anyio.fail_after(20):
                streamed = await client.post("/responses", json=body | {"stream": True})
                replied = await client.post("/responses", json=body)
        await upstream.close()
    assert frames(streamed.text)[-2]["response"]["metadata"]["budget"] == "seconds"
    assert replied.json()["metadata"]["budget"] == "seconds"
    assert replied.json()["status"] == "incomplete"


async def test_a_reader_that_does_not_read_holds_up_nothing_and_gets_all_of_it(serve: Callable[..., Any]) -> None:
    """The `busy` graph writes some 2 MB, many times what the buffers on the way hold."""
    body = b'{"model": "busy", "input": "Please talk.", "stream": true}'
    with serve(max_runs=1) as service, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((urlsplit(service.url).hostname, urlsplit(service.url).port))
        slow.sendall(b"POST /responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n" % len(body))
        slow.sendall(b"Content-Type: application/json\r\n\r\n" + body)
        reader, writer = await asyncio.open_connection(sock=slow, limit=4096)
        async with service.client() as client:
            with anyio.fail_after(30):
                seen = await reader.readuntil(b"\n\n")
                # The slot is free as soon as the graph has ended, whatever was read of it.
                while (await client.post("/responses", json={"model": "plain", "input": "Hi"})).status_code == 429:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                while b"[DONE]" not in seen:
                    seen += await reader.read(65_536)
        await leave(writer)
    assert b'"budget":"output_tokens"' in seen
    numbers = [int(found) for found in re.findall(rb'"sequence_number":(\d+)', seen)]
    assert numbers == [*range(len(numbers))]
    assert len(numbers) > 8000


async def test_a_caller_may_come_and_go_many_times(serve: Callable[..., Any], upstreams: Callable[[], Any]) -> None:
    with serve(max_runs=2, grace_seconds=0.0) as service:
        before = service.tasks()
        with anyio.fail_after(20):
            for number in range(20):
                upstream = await upstreams()
                _, writer = await ask(service, upstream, stream=bool(number % 2))
                await leave(writer)
                await upstream.left.wait()
                await settled(service, before)
        assert service.log == []


async def test_a_request_that_waits_for_its_conversation_takes_no_turn_once_its_caller_has_left(
    serve: Callable[..., Any], upstream: Upstream
) -> None:
    named = {"context": {"conversation_id": "mine"}}
    with serve(busy="wait") as service:
        where = urlsplit(service.url)
        with anyio.fail_after(20):
            _, first = await ask(service, upstream, stream=True, **named)
            busy = service.tasks()
            body = json.dumps({"model": "echo", "input": "two", **named}).encode()
            _, second = await asyncio.open_connection(where.hostname, where.port)
            second.write(run_head(len(body)) + body)
            while not service.tasks() - busy:  # noqa: ASYNC110 - tasks of another loop cannot be awaited here
                await asyncio.sleep(0.01)
            await leave(second)
            await settled(service, busy)
            upstream.say("Yes.")
            upstream.end()
            async with service.client() as client:
                third = await client.post("/responses", json={"model": "echo", "input": "three", **named})
        first.close()
        await upstream.close()
    said = third.json()["output"][-1]["content"][0]["text"]
    assert [text for kind, text, _ in json.loads(said) if kind == "human"] == ["Hi", "three"]

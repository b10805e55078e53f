"""What one WebSocket may hold, and for how long: queues, slots, slow and rude clients, and the end of the service."""

import asyncio
import base64
import json
import logging
import random
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.serving.conftest import Service, Upstream, serving, settled
from tests.serving.talking import Talk, talking, text_of
from tests.serving.test_slow_clients import UNRULY
from websockets.exceptions import ConnectionClosed, InvalidStatus

from graph_agent import Settings, create_app, host_lifespan
from graph_agent.serving.socket_connection import SocketConnection
from graph_agent.testing import on_loopback

pytestmark = pytest.mark.anyio

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
HANDSHAKE = (
    "GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(b'0123456789abcdef').decode()}\r\nSec-WebSocket-Version: 13\r\n"
)
ASKED = json.dumps({"type": "response.create", "model": "plain", "input": "Hi", "store": False}).encode()


def frame(data: bytes, *, kind: int = TEXT, last: bool = True, length: int | None = None) -> bytes:
    """A frame of a client. `length` is what it says, if that is not the truth."""
    size = len(data) if length is None else length
    short = size if size < 126 else 126 if size < 65_536 else 127
    head = bytes((kind | (0x80 if last else 0), 0x80 | short))
    return (
        head + {126: struct.pack("!H", size % 65_536), 127: struct.pack("!Q", size)}.get(short, b"") + bytes(4) + data
    )


@asynccontextmanager
async def raw(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection after its handshake, whose bytes the test writes itself."""
    where = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        writer.write(f"{HANDSHAKE}\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def closing(reader: asyncio.StreamReader) -> tuple[int, str]:
    """The code and the reason with which the service closes a connection, after other frames."""
    while True:
        kind, short = await reader.readexactly(2)
        size = int.from_bytes(await reader.readexactly({126: 2, 127: 8}[short])) if short > 125 else short
        data = await reader.readexactly(size)
        if kind & 0xF == CLOSE:
            return int.from_bytes(data[:2]), data[2:].decode()


async def closed(talk: Talk) -> int | None:
    """The code with which the service closes a connection that has nothing more to say."""
    with pytest.raises(ConnectionClosed) as caught:
        await talk.next()
    return None if caught.value.rcvd is None else caught.value.rcvd.code


@pytest.fixture(scope="module")
def rude() -> Iterator[Service]:
    # The time of a run must not end one that a client has left.
    with serving(read_seconds=0.4, max_body_bytes=20_000, max_seconds=600.0) as running:
        yield running


def held(upstream: Upstream, **fields: Any) -> dict[str, Any]:
    """A message whose run waits for its model."""
    return {"model": "upstream", "input": "Hi", "custom_inputs": {"upstream": upstream.url}, **fields}


async def heard(service: Service, talk: Talk) -> None:
    """Wait until the service has received what was sent."""
    await (await talk.connection.ping())
    async with service.client() as http:
        (await http.get("/health")).raise_for_status()


# -- the queue and the slots ----------------------------------------------------------------------------------------


async def test_messages_beyond_the_queue_are_refused_in_their_turn(rude: Service, upstream: Upstream) -> None:
    with anyio.fail_after(20):
        async with talking(rude, model="plain") as talk:
            await talk.send(**held(upstream, store=False))
            await upstream.asked.wait()
            for _ in range(11):
                await talk.send(input="Hi", store=False)
            await heard(rude, talk)
            upstream.say("Enough.")
            upstream.end()
            ends = [(await talk.answer())[-1] for _ in range(12)]
            assert [one["type"] for one in ends] == ["response.completed"] * 9 + ["error"] * 3
            assert {one["error"]["code"] for one in ends[9:]} == {"too_many_queued"}
            assert all(one["headers"]["retry-after"] for one in ends[9:])
            # There is room again.
            assert text_of(await talk.ask(input="Hi", store=False)) == "Hello world."


async def test_a_client_that_does_not_listen_is_disconnected(rude: Service, upstream: Upstream) -> None:
    with anyio.fail_after(20):
        async with talking(rude, model="plain") as talk:
            await talk.send(**held(upstream, store=False))
            await upstream.asked.wait()
            with suppress(ConnectionClosed):
                for _ in range(80):
                    await talk.send(input="Hi")
                while True:
                    await talk.next()
            assert talk.connection.close_code == 1008
            # Its run was stopped, too.
            await upstream.left.wait()


async def test_messages_that_wait_count_as_bodies(rude: Service, upstream: Upstream) -> None:
    text = "x" * 15_000
    with anyio.fail_after(20):
        async with talking(rude, model="plain") as talk, talking(rude, model="plain") as other:
            for one in (talk, other):
                await one.send(**held(upstream, store=False))
                for _ in range(8):
                    await one.send(input=text, store=False)
            await heard(rude, talk)
            await heard(rude, other)
            async with talking(rude, model="plain") as third:
                await third.send(**held(upstream, store=False))
                for _ in range(8):
                    await third.send(input=text, store=False)
                await heard(rude, third)
                for _ in range(3):
                    upstream.say("Enough.")
                    upstream.end()
                ends = [(await one.answer())[-1] for one in (talk, other, third) for _ in range(9)]
            refused = [one["error"]["code"] for one in ends if one["type"] == "error"]
            assert set(refused) == {"too_many_runs"}
            # 16 bodies of 20,000 bytes, in messages of a little more than 15,000.
            assert len(refused) == 24 - 21
            # Nothing counts any more.
            assert text_of(await talk.ask(input=text, store=False)) == "Hello world."


async def test_a_message_takes_a_slot_as_a_request_does(upstream: Upstream) -> None:
    with serving(max_runs=1) as service, anyio.fail_after(20):
        async with talking(service, model="plain") as talk, talking(service, model="plain") as other:
            await talk.send(**held(upstream, store=False))
            await upstream.asked.wait()
            refused = await other.refused(input="Hi", store=False)
            assert (refused["status"], refused["code"]) == (429, "too_many_runs")
            upstream.say("Enough.")
            upstream.end()
            await talk.answer()
            while (answer := (await other.turn(input="Hi", store=False))[-1])["type"] == "error":
                assert answer["error"]["code"] == "too_many_runs"
            assert text_of(answer["response"]) == "Hello world."


async def test_as_many_websockets_are_open_as_may_be() -> None:
    with serving(max_sockets=1) as service, anyio.fail_after(20):
        async with talking(service, model="plain") as talk:
            with pytest.raises(InvalidStatus) as refused:
                async with talking(service):
                    pass
            answer = refused.value.response
            assert (answer.status_code, json.loads(answer.body)["error"]["code"]) == (429, "too_many_sockets")
            assert text_of(await talk.ask(input="Hi")) == "Hello world."
            async with service.client() as http:
                counted = (await http.get("/metrics")).text
            assert "graph_agent_websockets 1.0" in counted
            assert 'graph_agent_http_errors_total{code="too_many_sockets"} 1.0' in counted
        opened = False
        while not opened:
            try:
                async with talking(service, model="plain") as talk:
                    opened = text_of(await talk.ask(input="Hi")) == "Hello world."
            except InvalidStatus:
                # The end of the first one may not be known yet.
                continue


# -- the end of a connection ----------------------------------------------------------------------------------------


async def test_a_connection_that_was_open_for_long_says_so_and_is_closed() -> None:
    with serving(socket_seconds=0.05) as service, anyio.fail_after(20):
        async with talking(service) as talk:
            told = await talk.next()
            assert (told["type"], told["status"]) == ("error", 400)
            assert told["error"]["code"] == "websocket_connection_limit_reached"
            assert await closed(talk) == 1000


async def test_a_connection_that_is_idle_is_closed() -> None:
    with serving(socket_idle_seconds=0.05) as service, anyio.fail_after(20):
        async with talking(service) as talk:
            assert await closed(talk) == 1001


async def test_a_client_that_leaves_ends_its_run(rude: Service, upstream: Upstream) -> None:
    before = rude.tasks()
    # Sooner than the grace for a stored run, to which somebody may come back.
    with anyio.fail_after(15):
        async with talking(rude) as talk:
            await talk.send(**held(upstream, store=False))
            await upstream.asked.wait()
        await upstream.left.wait()
        await settled(rude, before)


async def test_a_stored_run_can_be_joined_when_its_connection_is_gone(rude: Service, upstream: Upstream) -> None:
    with anyio.fail_after(20):
        async with talking(rude) as talk:
            await talk.send(**held(upstream))
            created = await talk.next()
            await upstream.asked.wait()
        async with rude.client() as http:
            address = f"/v1/responses/{created['response']['id']}?stream=true"
            async with http.stream("GET", address) as stream:
                upstream.say("Enough.")
                upstream.end()
                lines = [line async for line in stream.aiter_lines()]
    assert any("response.completed" in line for line in lines)


async def test_a_service_that_stops_tells_ends_and_closes(upstream: Upstream) -> None:
    with serving() as service, anyio.fail_after(25):
        async with talking(service, model="plain") as talk, talking(service) as idle:
            await talk.send(**held(upstream))
            await upstream.asked.wait()
            await talk.send(input="Wait.")
            await heard(service, talk)
            service.stop()
            assert await closed(idle) == 1012
            upstream.say("Enough.")
            upstream.end()
            *_, last = await talk.answer()
            assert last["type"] == "response.completed"
            (waited,) = await talk.answer()
            assert (waited["status"], waited["error"]["code"]) == (503, "service_stopping")
            assert await closed(talk) == 1012


async def test_a_run_that_takes_too_long_for_the_stop_is_ended(upstream: Upstream) -> None:
    with serving() as service, anyio.fail_after(25):
        async with talking(service) as talk:
            await talk.send(**held(upstream))
            await upstream.asked.wait()
            service.stop()
            *_, last = await talk.answer()
            assert last["type"] == "response.failed"
            assert last["response"]["error"]["code"] == "service_stopping"
            assert await closed(talk) == 1012


# -- slow and rude clients ------------------------------------------------------------------------------------------


async def test_a_client_that_reads_nothing_is_disconnected_and_holds_nobody_up(serve: Callable[..., Any]) -> None:
    with serve(config=UNRULY, max_runs=1, write_seconds=0.5) as service, anyio.fail_after(20):
        before = service.tasks()
        async with raw(service) as (reader, writer):
            writer.write(frame(ASKED.replace(b"plain", b"large")))
            await reader.readexactly(2)
            while not [line for line in service.log if "read nothing for 0.5 s and was disconnected" in line]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await settled(service, before)
            async with talking(service, model="calm") as talk:
                assert (await talk.turn(input="Hi"))[-1]["type"] == "response.completed"


async def test_pings_of_a_client_that_reads_nothing_pile_up_nowhere(rude: Service) -> None:
    with anyio.fail_after(20):
        async with raw(rude) as (reader, writer):
            for _ in range(60):
                # More than any buffer of the kernel holds. The stream of the client takes no more than 128 KiB.
                writer.write(frame(b"p" * 125, kind=PING) * 1_000)
                await writer.drain()
            assert rude.server is not None
            [connection] = [one for one in rude.server.server_state.connections if isinstance(one, SocketConnection)]
            assert connection.transport.get_write_buffer_size() < 1_000_000
            # It reads all the same, and goes on when the client does.
            writer.write(frame(ASKED) + frame(struct.pack("!H", 1000), kind=CLOSE))
            assert (await closing(reader))[0] == 1000


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (frame(b"{", length=5_000), 1008, "in time"),
        (frame(b"{", last=False) + frame(b"", kind=0, last=False), 1008, "in time"),
        (frame(b"{", last=False) + frame(b"", kind=0, last=False) * 5_000, 1008, "too many frames"),
        (frame(b"x" * 30_000), 1009, "limit of 20000 bytes"),
        (frame(b"x" * 15_000, last=False) + frame(b"x" * 15_000, kind=0), 1009, "limit of 20000 bytes"),
        (frame(b"\xff"), 1007, ""),
        (frame(b"{}", kind=0), 1002, ""),
        (frame(b"{}", kind=0xB), 1002, ""),
        (frame(b"x" * 200, kind=PING), 1002, ""),
        (b"\x81\x02{}", 1002, ""),
        (b"\xf1\x80\0\0\0\0", 1002, ""),
    ],
    ids=[
        *("stalls", "stalls-in-fragments", "many-fragments", "too-large", "too-large-in-fragments", "no-utf-8"),
        *("continues-nothing", "unknown-opcode", "large-ping", "unmasked", "reserved-bits"),
    ],
)
async def test_frames_that_break_a_rule_close_the_connection(
    rude: Service, sent: bytes, code: int, reason: str
) -> None:
    before = rude.tasks()
    with anyio.fail_after(20):
        async with raw(rude) as (reader, writer):
            writer.write(frame(ASKED))
            writer.write(sent)
            closed_with, why = await closing(reader)
            assert closed_with == code
            assert reason in why
        await settled(rude, before)


async def test_bytes_that_are_not_utf_8_stand_in_no_log(rude: Service) -> None:
    rude.log.clear()
    with anyio.fail_after(20):
        async with raw(rude) as (reader, writer):
            writer.write(frame(b"planted-secret \xff"))
            assert (await closing(reader))[0] == 1007
    (line,) = [one for one in rude.log if "UTF-8" in one]
    assert "UnicodeDecodeError at" in line
    assert "Traceback" not in line
    assert "codec" not in line
    assert "planted" not in line


async def test_a_large_message_that_keeps_coming_has_the_time_it_takes(rude: Service) -> None:
    message = frame(ASKED.replace(b"Hi", b"x" * 15_000))
    with anyio.fail_after(20):
        async with raw(rude) as (reader, writer):
            for start in range(0, len(message), 4_000):
                writer.write(message[start : start + 4_000])
                await asyncio.sleep(0.05)
            assert b"response.completed" in await reader.readuntil(b'"response.completed"')


async def test_a_handshake_with_a_header_that_is_too_long_is_refused(rude: Service) -> None:
    where = urlsplit(rude.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    with anyio.fail_after(20):
        writer.write(f"{HANDSHAKE}Cookie: {'x' * 9_000}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 431")
    writer.close()
    await writer.wait_closed()


async def test_an_idle_connection_outlives_the_time_for_a_request(rude: Service) -> None:
    with anyio.fail_after(20):
        async with talking(rude, model="plain") as talk:
            # Longer than `read_seconds`, which is the time for the headers of a request.
            await asyncio.sleep(0.6)
            assert text_of(await talk.ask(input="Hi", store=False)) == "Hello world."


# -- whatever is sent -----------------------------------------------------------------------------------------------

ODD: list[Any] = [
    *(None, True, False, 0, -1, 2**70, 1e308, "", " ", "x" * 300, "\0", "\u2028", "plain", [], {}, [[]], [{}]),
    *({"type": "message"}, [{"type": "message", "role": "user", "content": None}], [{"type": []}], {"id": {}}),
    *([{"type": "function_call_output", "call_id": "c", "output": "o"}], [{"type": "item_reference", "id": "m"}]),
    *("resp_1", "conv_000000000000000000000000", {"id": "conv_1", "from": "beginning"}, [0], {"": ""}),
]
FIELDS = [
    *("type", "generate", "stream_id", "stream", "background", "store", "input", "model", "previous_response_id"),
    *("conversation", "context", "custom_inputs", "metadata", "tools", "tool_choice", "instructions", "include"),
    *("max_output_tokens", "text", "reasoning", "databricks_options", "stream_options", "unknown", "truncation"),
]
BROKEN = ["", "{", "[]", "null", '"response.create"', "{}", '{"type":1}', '{"a":' * 500, '{"type":"response.create"}x']


async def test_every_message_gets_one_answer_whatever_it_says(rude: Service, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(20260424)
    with anyio.fail_after(60), caplog.at_level(logging.WARNING):
        async with talking(rude, model="plain") as talk:
            for number in range(250):
                fields = {"type": "response.create", "model": "plain", "input": "Hi", "store": chance.random() < 0.5}
                for name in chance.sample(FIELDS, chance.randint(1, 4)):
                    fields[name] = chance.choice(ODD)
                text = chance.choice(BROKEN) if number % 10 == 0 else json.dumps(fields)
                await talk.connection.send(text)
                *_, last = await talk.answer()
                assert last["type"] != "error" or 400 <= last["status"] < 500, (text, last)
                assert last["type"] != "response.failed", (text, last)
            # No answer was left over, and the connection is as good as before.
            assert text_of(await talk.ask(input="Hi")) == "Hello world."
    assert caplog.records == []


async def test_random_bytes_hurt_nobody(rude: Service, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(20260424)
    before = rude.tasks()
    with anyio.fail_after(60), caplog.at_level(logging.WARNING):
        async with talking(rude, model="plain") as talk:
            for _ in range(60):
                sent = bytearray(frame(ASKED) * chance.randint(0, 2) + chance.randbytes(chance.randint(1, 400)))
                for _ in range(chance.randint(0, 4)):
                    sent[chance.randrange(len(sent))] = chance.randrange(256)
                async with raw(rude) as (_, writer):
                    writer.write(sent)
                    await writer.drain()
            assert text_of(await talk.ask(input="Hi", store=False)) == "Hello world."
        await settled(rude, before)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_messages_count_against_the_limits_for_people() -> None:
    with serving(limit_user_requests_per_day=2) as service, anyio.fail_after(20):
        async with talking(service, model="plain") as talk, service.client() as http:
            # Of the same user, over HTTP.
            (await http.post("/v1/responses", json={"model": "plain", "input": "Hi"})).raise_for_status()
            await talk.ask(input="Hi", store=False)
            (refused,) = await talk.turn(input="Hi", store=False)
            assert (refused["status"], refused["error"]["code"]) == (429, "rate_limit_exceeded")
            assert refused["headers"]["x-ratelimit-remaining-requests"] == "0"


# -- under another server -------------------------------------------------------------------------------------------


@contextmanager
def hosted(**settings: Any) -> Iterator[Service]:
    """The service inside an app of somebody else, at a server that is not ours."""
    values: dict[str, Any] = {"config": UNRULY, "tracing": "off", "store": "memory"}
    agent = create_app(Settings(**values | settings), environ={})
    host = Starlette(routes=[Mount("/agent", agent)], lifespan=host_lifespan(agent))
    with on_loopback(host) as url:
        httpx.get(f"{url}/agent/agent/info", timeout=60).raise_for_status()
        yield Service(f"{url}/agent", asyncio.get_running_loop(), [])


async def test_under_another_server_a_message_that_is_too_large_is_refused() -> None:
    with hosted(max_body_bytes=5_000) as service, anyio.fail_after(20):
        async with talking(service, model="calm") as talk:
            refused = await talk.refused(input="x" * 6_000, store=False)
            assert (refused["status"], refused["code"]) == (413, "body_too_large")
            first = await talk.ask(input="Hi", store=False)
            assert (await talk.ask(input="Hi", store=False, previous_response_id=first["id"]))["output"]


async def test_under_another_server_a_client_that_reads_nothing_is_disconnected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    where = "read nothing for 1.1 s and was disconnected"
    with hosted(write_seconds=0.1) as service, anyio.fail_after(20):
        async with talking(service, model="large", max_queue=1, compression=None, close_timeout=0.1) as talk:
            # Its library reads no more than one message ahead, and no buffer on the way holds all of the others.
            for _ in range(4):
                await talk.send(input="Much.", store=False)
            while where not in caplog.text:  # noqa: ASYNC110 - the log of the test tells nobody when a line is written
                await asyncio.sleep(0.02)

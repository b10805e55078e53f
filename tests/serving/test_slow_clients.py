"""A client that does not send or read on is cut, and costs nobody else anything."""

import asyncio
import contextlib
import errno
import json
import logging
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from tests.serving.conftest import GRAPHS, Service, settled

from graph_agent.serving import connection, logs
from graph_agent.serving.routes import responses, stored_responses

pytestmark = pytest.mark.anyio

UNRULY = GRAPHS.parent / "unruly" / "langgraph.json"
HOST = b"Host: localhost\r\nContent-Type: application/json\r\n"


def post(body: bytes, *, length: int | None = None, address: bytes = b"/responses") -> bytes:
    """A request as it goes over the wire."""
    head = b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n"
    return head % (address, HOST, len(body) if length is None else length) + body


async def connected(service: Service) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with as small a window as there is, on which nothing is read ahead."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    where = urlsplit(service.url)
    client.connect((where.hostname, where.port))
    return await asyncio.open_connection(sock=client, limit=1024)


async def gone(writer: asyncio.StreamWriter) -> None:
    """The connection is closed, if the service has not done so."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What can still be read, to the end of the connection."""
    found = b""
    try:
        while chunk := await reader.read(65_536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("stream", [b"true", b"false"], ids=["stream", "reply"])
async def test_a_reader_that_takes_nothing_is_cut_and_its_connection_closed(
    serve: Callable[..., Any], stream: bytes
) -> None:
    # The answer of a plain reply is one text of two megabytes, so that no buffer on the way holds it.
    body = b'{"model": "large", "input": "Much.", "stream": %b}' % stream
    with serve(config=UNRULY, max_runs=1, write_seconds=0.5) as service:
        before = service.tasks()
        reader, writer = await connected(service)
        with anyio.fail_after(20):
            writer.write(post(body))
            await reader.readuntil(b"\r\n")
            # The test's own log tells nobody when a line is written.
            while not [line for line in service.log if "read nothing for 0.5 s and was disconnected" in line]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await settled(service, before)
            async with service.client() as client:
                assert (await client.post("/responses", json={"model": "calm", "input": "Hi"})).status_code == 200
            seen = await rest(reader)
        await gone(writer)
    assert b"[DONE]" not in seen
    assert len(seen) < 2_000_000


async def test_a_reader_that_takes_a_little_now_and_then_gets_all_of_it(serve: Callable[..., Any]) -> None:
    body = b'{"model": "large", "input": "Much.", "stream": false}'
    with serve(config=UNRULY, write_seconds=1.0) as service:
        reader, writer = await connected(service)
        with anyio.fail_after(60):
            writer.write(post(body))
            began, seen = time.monotonic(), b""
            while time.monotonic() - began < 2.5:
                seen += await reader.readexactly(30_000)
                await asyncio.sleep(0.1)
            length = int(re.findall(rb"content-length: (\d+)", seen)[0])
            head = seen.index(b"\r\n\r\n") + 4
            seen += await reader.readexactly(length + head - len(seen))
        await gone(writer)
    assert seen.endswith(b"}")


async def test_a_reader_that_lingers_after_the_end_of_its_run_is_cut(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "LATE_READER_SECONDS", 0.5)
    with serve(config=UNRULY, max_output_tokens=100_000) as service:
        before = service.tasks()
        reader, writer = await connected(service)
        with anyio.fail_after(30):
            writer.write(post(b'{"model": "many", "input": "Many.", "stream": true}'))
            seen = b""
            # Takes something all the time, and would take minutes for all of it.
            while service.tasks() - before or not seen:
                seen += await reader.read(1000)
                await asyncio.sleep(0.02)
        await gone(writer)
    assert b"[DONE]" not in seen


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "in-progress"])
async def test_a_reader_that_joined_and_lingers_is_cut_too(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    monkeypatch.setattr(stored_responses, "LATE_READER_SECONDS", 0.5)
    with serve(config=UNRULY, max_output_tokens=100_000) as service:
        before = service.tasks()
        with anyio.fail_after(30):
            async with service.client() as client:
                body = {"model": "many", "input": "Many.", "stream": True}
                async with client.stream("POST", "/responses", json=body) as stream:
                    lines = stream.aiter_lines()
                    first = json.loads((await anext(lines)).removeprefix("data: "))
                    if ended:
                        async for _ in lines:
                            pass
            reader, writer = await connected(service)
            address = f"/responses/{first['response']['id']}?stream=true"
            writer.write(f"GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            seen = b""
            while service.tasks() - before or not seen:
                seen += await reader.read(1000)
                await asyncio.sleep(0.02)
        await gone(writer)
    assert b"[DONE]" not in seen


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"", b"HTTP/1.1 408"),
        (b"GET /health HTT", b"HTTP/1.1 408"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"HTTP/1.1 408"),
        (post(b'{"model": "calm", "input": "', length=5000), b"HTTP/1.1 408"),
        (post(b"{", length=5000, address=b"/nowhere"), b"HTTP/1.1 404"),
    ],
    ids=["nothing", "line", "headers", "body", "body-nobody-wants"],
)
async def test_a_request_that_trickles_in_is_cut(serve: Callable[..., Any], begun: bytes, status: bytes) -> None:
    with serve(config=UNRULY, read_seconds=0.6) as service:
        before = service.tasks()
        reader, writer = await connected(service)

        async def trickle() -> None:
            while begun:
                writer.write(b"x")
                await asyncio.sleep(0.05)

        with anyio.fail_after(15):
            writer.write(begun)
            trickling = asyncio.create_task(trickle())
            seen = await rest(reader)
            trickling.cancel()
            await settled(service, before)
        await gone(writer)
    assert seen.startswith(status)


def sending(service: Service, begun: bytes) -> socket.socket:
    """A client that has sent this. It learns at once if the system has reset its connection."""
    where = urlsplit(service.url)
    client = socket.create_connection((where.hostname, where.port), timeout=20)
    client.sendall(begun)
    return client


SLOW = [b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", post(b'{"model": "calm", "input": "', length=5000)]


@pytest.mark.parametrize("begun", SLOW, ids=["headers", "body"])
def test_a_client_that_still_sends_can_read_why_it_is_cut(serve: Callable[..., Any], begun: bytes) -> None:
    with serve(config=UNRULY, read_seconds=0.3) as service, sending(service, begun) as client:
        seen = client.recv(20)
        for _ in range(4):
            client.sendall(b"x" * 100)
            time.sleep(0.05)
        while chunk := client.recv(65_536):
            seen += chunk
    assert seen.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in seen.lower()


def test_a_client_that_still_sends_what_cannot_be_read_learns_that_it_was_wrong(serve: Callable[..., Any]) -> None:
    with serve(config=UNRULY) as service, sending(service, b"GET /health HTTP/1.1\r\nno header\r\n\r\n") as client:
        seen = client.recv(20)
        for _ in range(4):
            client.sendall(b"x" * 100)
            time.sleep(0.05)
        while chunk := client.recv(65_536):
            seen += chunk
    assert seen.startswith(b"HTTP/1.1 400")


def send_on(client: socket.socket, *, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        client.sendall(b"x" * 10_000)
        time.sleep(0.01)


CHUNK = b"POST /responses HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n"


@pytest.mark.parametrize("begun", [*SLOW, CHUNK], ids=["headers", "body", "chunk"])
def test_a_client_that_never_stops_sending_is_cut_all_the_same(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.3)
    cut = pytest.raises((ConnectionResetError, BrokenPipeError))
    with serve(config=UNRULY, read_seconds=0.3) as service:
        with sending(service, begun) as client, cut:
            send_on(client, seconds=20)
        log = "".join(service.log)
    assert "Exception in ASGI application" not in log


async def test_a_large_body_that_keeps_coming_has_the_time_it_takes(serve: Callable[..., Any]) -> None:
    text = b'{"model": "calm", "input": "%b"}' % (b"x" * 400_000)
    with serve(config=UNRULY, read_seconds=0.5) as service:
        reader, writer = await connected(service)
        with anyio.fail_after(20):
            whole = post(text)
            for start in range(0, len(whole), 80_000):
                writer.write(whole[start : start + 80_000])
                await asyncio.sleep(0.2)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await gone(writer)


async def test_a_run_may_take_longer_than_sending_its_request(serve: Callable[..., Any], tmp_path: Path) -> None:
    body = b'{"model": "held", "input": "Wait.", "custom_inputs": {"until": "%b"}}' % str(tmp_path / "now").encode()
    with serve(config=UNRULY, read_seconds=0.3, write_seconds=0.3) as service:
        reader, writer = await connected(service)
        with anyio.fail_after(20):
            writer.write(post(body))
            await asyncio.sleep(1.0)
            (tmp_path / "now").touch()
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await gone(writer)


async def test_a_connection_too_many_is_told_so_and_closed(serve: Callable[..., Any]) -> None:
    with serve(config=UNRULY, max_connections=3) as service:
        others = [await connected(service) for _ in range(3)]
        for reader, writer in others:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        with anyio.fail_after(20):
            reader, writer = await connected(service)
            assert (await rest(reader)).startswith(b"HTTP/1.1 503")
            await gone(writer)
            for _, other in others:
                await gone(other)
            async with service.client() as client:
                while (await client.get("/health")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
    assert len([line for line in service.log if "3 connections are open" in line]) <= 1


def test_a_process_out_of_file_descriptors_says_so_once_and_not_thousands_of_times(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_reported_at", float("-inf"))
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.ERROR):
        for _ in range(5000):
            full = OSError(errno.EMFILE, "Too many open files")
            logs.log_uncaught(loop, {"message": "socket.accept() out of system resource", "exception": full})
        logs.log_uncaught(loop, {"message": "Task exception was never retrieved", "exception": ValueError()})
    loop.close()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("socket.accept() out of system resource: OSError")

"""Readers of one run over HTTP: what each gets, from wherever it begins, is the same bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from langgraph.graph import MessagesState
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from tests.graphs.scripted import says
from tests.runs.registered import ANN, OneGraph, a_request, rest, some_runs
from tests.runs.running import chain, speaking

from graph_agent.runs.registry import Runs
from graph_agent.runs.request import Scope as RunScope
from graph_agent.runs.run import Run
from graph_agent.serving.connection import Connection, ConnectionLimits
from graph_agent.serving.sse import EventStreamResponse
from graph_agent.serving.workers import listening_socket
from graph_agent.testing import Wait

pytestmark = pytest.mark.anyio

OURS = partial(Connection, limits=ConnectionLimits(most=100, read_seconds=20, write_seconds=20))
"""Connections of our own server, which write tokens without waking a task."""


@pytest.fixture(autouse=True, params=["auto", OURS], ids=["plain", "ours"])
def http(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs behind a plain uvicorn, and with the connections of our own server."""
    monkeypatch.setattr(f"{__name__}.HTTP", request.param)


HTTP: Any = "auto"


@asynccontextmanager
async def joinable(runs: Runs, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A server at which every run can be joined, behind uvicorn: `GET /RUN_ID?starting_after=N`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        after = int(request.query_params.get("starting_after", "-1"))
        reader = runs.join(ANN, scope["path"][1:], after=after, quiet_seconds=5)
        await EventStreamResponse(reader, headers={}, **options)(scope, receive, send)

    server = uvicorn.Server(
        uvicorn.Config(app, http=HTTP, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    listening = listening_socket("127.0.0.1", 0)
    # Inherited by every connection: a slow reader is felt after kilobytes, not megabytes.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
    serving = asyncio.create_task(server.serve([listening]))
    url = "http://{}:{}".format(*listening.getsockname())
    try:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


def frames_of(text: str) -> list[str]:
    return [frame for frame in text.split("\n\n") if frame.startswith("data: ")]


async def test_a_late_reader_and_one_that_comes_back_get_the_bytes_that_the_first_one_got() -> None:
    go_on = asyncio.Event()

    async def wait(state: MessagesState) -> None:
        await go_on.wait()

    graph = chain(speaking(says([f"word{n} " for n in range(300)]), "first"), wait, speaking(says("The end.")))
    runs = some_runs(grace_seconds=30)
    with anyio.fail_after(40):
        run = await runs.start(a_request(), RunScope(), graphs=OneGraph(graph))
        async with joinable(runs) as client:
            whole = asyncio.create_task(client.get(f"/{run.id}"))
            seen = ""
            async with client.stream("GET", f"/{run.id}") as leaving:
                async for text in leaving.aiter_text():
                    seen += text
                    if "word299" in seen:
                        break
            begun = frames_of(seen[: seen.rindex("\n\n") + 2])
            go_on.set()
            back = await client.get(f"/{run.id}", params={"starting_after": len(begun) - 1})
            late = await client.get(f"/{run.id}")
            first = await whole
    assert late.content == first.content
    assert begun + frames_of(back.text) == frames_of(first.text)
    assert first.text.endswith("data: [DONE]\n\n")
    assert f'"sequence_number":{len(begun)}' in frames_of(back.text)[0]


@asynccontextmanager
async def speaking_word_by_word(words: int) -> AsyncIterator[tuple[Run, httpx.AsyncClient]]:
    """A run that has begun, whose tokens are not gathered, and a client that can join it."""
    said = [piece for n in range(words) for piece in (Wait(Pause()), f"word{n} ")]
    runs = some_runs(grace_seconds=30)
    run = await runs.start(a_request(), RunScope(), graphs=OneGraph(chain(speaking(says(said)))))
    async with joinable(runs) as client:
        yield run, client


async def test_tokens_that_come_one_by_one_reach_old_clients_and_pipelining_ones_too() -> None:
    with anyio.fail_after(40):
        async with speaking_word_by_word(30) as (run, client):
            old, pipelined, whole = await asyncio.gather(
                sent(client, f"GET /{run.id} HTTP/1.0\r\n\r\n"),
                sent(
                    client,
                    f"GET /{run.id} HTTP/1.1\r\nHost: a\r\n\r\n"
                    f"GET /{run.id} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                ),
                client.get(f"/{run.id}"),
            )
    assert whole.text.count("response.output_text.delta") == 30
    assert old.partition("\r\n\r\n")[2] == whole.text
    first, second = map(body_of, pipelined.split("HTTP/1.1 200 OK\r\n")[1:])
    assert (first, second) == (whole.text, whole.text)


async def test_a_request_for_the_headers_of_a_stream_gets_no_body() -> None:
    with anyio.fail_after(40):
        async with speaking_word_by_word(5) as (run, client):
            answer = await sent(client, f"HEAD /{run.id} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert answer.partition("\r\n\r\n")[2] == ""


def recorded_writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What our server writes to its sockets from now on, in order."""
    writes: list[bytes] = []

    class Recording(Connection):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            writing = transport.write
            monkeypatch.setattr(transport, "write", lambda data: (writes.append(data), writing(data)))
            super().connection_made(transport)

    monkeypatch.setattr(f"{__name__}.HTTP", partial(Recording, **OURS.keywords))
    return writes


async def test_what_comes_at_the_same_time_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write to a socket takes longer than most of what the service does for an event."""
    writes = recorded_writes(monkeypatch)
    with anyio.fail_after(40):
        async with speaking_word_by_word(3) as (run, client):
            whole = await client.get(f"/{run.id}")
            live, late = len(writes), await client.get(f"/{run.id}")
    assert late.content == whole.content
    # The beginning, each token, and the end.
    assert b"HTTP/1.1 200" in writes[0]
    assert b"response.in_progress" in writes[0]
    assert b"response.completed" in writes[live - 1]
    assert writes[live - 1].endswith(b"0\r\n\r\n")
    # Nothing had to be waited for.
    assert len(writes) == live + 1


async def test_the_end_of_a_long_answer_is_written_in_pieces_that_wait_for_a_slow_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is joined is short. Otherwise megabytes would wait in memory for a client that reads a few bytes."""
    writes = recorded_writes(monkeypatch)
    runs = some_runs(grace_seconds=30)
    with anyio.fail_after(40):
        run = await runs.start(a_request(), RunScope(), graphs=OneGraph(chain(speaking(says(["x" * 2_000_000])))))
        async with joinable(runs) as client:
            await client.get(f"/{run.id}")
            writes.clear()
            late = await client.get(f"/{run.id}")
    assert len(late.content) > 4_000_000
    assert max(map(len, writes)) < 100_000


class Pause:
    """Over after a moment in which tokens are not gathered."""

    async def wait(self) -> None:
        await asyncio.sleep(0.03)


async def sent(client: httpx.AsyncClient, request: str) -> str:
    """What is answered to these bytes, to the end of the connection."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(request.encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


def body_of(answer: str) -> str:
    """The body of an answer in chunks."""
    rest, body = answer.partition("\r\n\r\n")[2], ""
    while True:
        size, _, rest = rest.partition("\r\n")
        if not int(size, 16):
            return body
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


async def test_a_reader_whose_write_does_not_return_is_cut_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def wait(state: MessagesState) -> None:
        await anyio.sleep_forever()

    # More than the buffers of a plain uvicorn and of two sockets hold.
    graph = chain(speaking(says(["x" * 1_000] * 2_000)), wait)
    runs = some_runs()
    with anyio.fail_after(40):
        run = await runs.start(a_request(), RunScope(), graphs=OneGraph(graph))
        async with joinable(runs, write_seconds=0.5) as client:
            other = asyncio.create_task(rest(runs.read(run)))
            _, writer = await idle_client(client, f"/{run.id}")
            while not any("read nothing for 0.5 s and was disconnected" in line for line in caplog.messages):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            # Another reader holds the run, and is not held up itself.
            assert not run.over
            await runs.cancel(ANN, run.id)
            seen = await other
            writer.transport.abort()
    assert len([entry for entry in seen if entry.type == "response.output_text.delta"]) == 2_000


async def idle_client(client: httpx.AsyncClient, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has asked for a stream, with as small a window as there is, and reads none of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((client.base_url.host, client.base_url.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader, writer

"""Real servers on free loopback ports: this service with the graphs of `tests/graphs`, and a model behind them."""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

from graph_agent.serving.app import create_app
from graph_agent.serving.page_build import BUILT
from graph_agent.serving.server import Server
from graph_agent.serving.workers import listening_socket
from graph_agent.settings import Settings

START_SECONDS = 180.0
"""How long a service may take to start. It takes 2 s of processor time, and of that a busy machine gives little."""

ANSWER_SECONDS = 60.0
"""How long it may then take to answer."""

GRAPHS = Path(__file__).parent.parent / "graphs" / "langgraph.json"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Service:
    """A running service."""

    url: str
    loop: asyncio.AbstractEventLoop
    log: list[str]
    server: Server | None = None
    """`None`: it is another process."""

    def stop(self) -> None:
        """Begin to stop it, as SIGTERM does."""
        assert self.server is not None
        self.server.should_exit = True

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client of this service."""
        return httpx.AsyncClient(base_url=self.url, timeout=ANSWER_SECONDS, **options)

    def tasks(self) -> set[str]:
        """The names of the running tasks in its event loop."""
        return {task.get_coro().__qualname__ for task in asyncio.all_tasks(self.loop)}  # type: ignore[union-attr]


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def serving(
    environ: Mapping[str, str] | None = None,
    *,
    graphs: Mapping[str, Any] | None = None,
    shares_store: bool = False,
    page_folder: Path = BUILT,
    **settings: Any,
) -> Iterator[Service]:
    """Run the service in a thread until the block ends. Without `graphs`, it has those of `tests/graphs`."""
    values: dict[str, Any] = {"config": GRAPHS, "tracing": "off", "store": "memory", "max_seconds": 8.0}
    app = create_app(
        Settings(**values | settings),
        graphs,
        environ=environ or {},
        shares_store=shares_store,
        page_folder=page_folder,
    )
    server = Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=3))
    log = _Log()
    listening = listening_socket("127.0.0.1", 0)
    # Every connection inherits this. A slow reader then blocks the server after kilobytes and not megabytes.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)

    def run() -> None:
        server.run([listening])
        # Sessions of tool servers outlive the runs. Normally they end with the process.
        server.loop.run_until_complete(_end_all())
        server.loop.run_until_complete(server.loop.shutdown_default_executor())
        server.loop.close()

    logging.getLogger().addHandler(log)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        token = {"authorization": f"Bearer {settings['bearer_token']}"} if "bearer_token" in settings else {}
        with httpx.Client(base_url=url, timeout=START_SECONDS, headers=token) as client:
            # This request waits until the graphs are loaded.
            client.get("/agent/info").raise_for_status()
        yield Service(url, server.loop, log.lines, server)
    finally:
        server.should_exit = True
        thread.join(15)
        logging.getLogger().removeHandler(log)
        assert not thread.is_alive()


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One service for all tests of a module."""
    with serving() as running:
        yield running


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Start a service with other settings: `with serve(max_runs=1) as service`."""
    return serving


@dataclass
class Upstream:
    """A model endpoint that sends what a test passes to it, and notices when its caller disconnects."""

    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    _words: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    _connections: dict[asyncio.StreamWriter, asyncio.Event] = field(default_factory=dict)

    def say(self, word: str) -> None:
        """Send one line of plain text."""
        self._words.put_nowait(f"{word}\n".encode())

    def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        self._words.put_nowait(data)

    def end(self) -> None:
        """Complete the answer."""
        self._words.put_nowait(None)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection to its end."""
        over = self._connections[writer] = asyncio.Event()
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()
            over.set()

    async def close(self) -> None:
        """End every connection."""
        for writer, over in list(self._connections.items()):
            writer.close()
            await over.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET "):
            # A Databricks client first asks a workspace for its configuration.
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        kind = b"text/event-stream" if b"/serving-endpoints/" in head else b"text/plain"
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(int(length[0].split(b":")[1]) if length else 0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.asked.set()
        speaking = asyncio.create_task(self._speak(writer))
        try:
            await reader.read()
            self.left.set()
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)

    async def _speak(self, writer: asyncio.StreamWriter) -> None:
        while (word := await self._words.get()) is not None:
            writer.write(b"%x\r\n%s\r\n" % (len(word), word))
            await writer.drain()
        writer.write(b"0\r\n\r\n")


@asynccontextmanager
async def upstream_server() -> AsyncIterator[Upstream]:
    """Run an `Upstream` on a free port."""
    upstream = Upstream()
    server = await asyncio.start_server(upstream.handle, "127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        await upstream.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A model endpoint in the event loop of the test."""
    async with upstream_server() as running:
        yield running


@pytest.fixture
async def upstreams() -> AsyncIterator[Callable[[], Any]]:
    """Starts any number of model endpoints."""
    async with AsyncExitStack() as stack:
        yield lambda: stack.enter_async_context(upstream_server())


def run_head(length: object, *, address: str = "/responses") -> bytes:
    """Return the head of a request with a body of that length."""
    lines = [f"POST {address} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


async def ask(service: Service, upstream: Upstream, *, address: str = "/responses", **fields: Any) -> Any:
    """Open a connection, start a run of the `upstream` graph, and wait until its model is called."""
    where = urlsplit(service.url)
    inputs = {"upstream": upstream.url} | fields.pop("custom_inputs", {})
    request = httpx.Request(
        "POST", service.url + address, json={"model": "upstream", "input": "Hi", "custom_inputs": inputs} | fields
    )
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(run_head(len(request.content), address=address) + request.content)
    await upstream.asked.wait()
    return reader, writer


async def leave(writer: asyncio.StreamWriter) -> None:
    """Disconnect."""
    writer.close()
    await writer.wait_closed()


async def settled(service: Service, before: set[str]) -> None:
    """Wait until the service has no more tasks than before."""
    while service.tasks() - before:  # noqa: ASYNC110 - tasks of another loop cannot be awaited here
        await asyncio.sleep(0.01)

"""`graph-agent serve` as a process: what it logs, how it stops, and what keeps it from starting."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving.conftest import GRAPHS, START_SECONDS, Service, Upstream, ask
from tests.wire import frames

pytestmark = pytest.mark.anyio

SOURCE = Path(__file__).parent.parent.parent / "src"
PASSWORD = "hunter2"


class Process(Service):
    """A running `graph-agent serve`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__("", asyncio.get_running_loop(), [])
        self.process = process
        self._news = asyncio.Event()
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.log.append(line.decode())
            self._news.set()
        self._news.set()

    async def logged(self, words: str, *, times: int = 1) -> str:
        """The line in which these words were logged so many times."""
        while len(found := [line for line in self.log if words in line]) < times:
            assert not self.process.stdout.at_eof(), "".join(self.log)  # type: ignore[union-attr]
            self._news.clear()
            await self._news.wait()
        return found[-1]

    async def ended(self) -> int:
        """The exit status, once the process has gone and all it said was read."""
        await self._listener
        return await self.process.wait()


@asynccontextmanager
async def graph_agent(
    *arguments: str, command: str = "serve", port: int | None = 0, **settings: str
) -> AsyncIterator[Process]:
    """`graph-agent serve`, or `dev`, on a free port, ended at the latest with the block."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("GRAPH_AGENT_", "DATABRICKS_"))}
    values = {"PYTHONPATH": str(SOURCE), "GRAPH_AGENT_TRACING": "off", "GRAPH_AGENT_STORE": "memory"} | settings
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "graph_agent", command, *([] if port is None else ["--port", str(port)]), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environ | values,
    )  # fmt: skip
    running = Process(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.ended()


@asynccontextmanager
async def ready(*arguments: str, **settings: str) -> AsyncIterator[Process]:
    """The same, with the graphs of `tests/graphs` loaded."""
    async with graph_agent("--config", str(GRAPHS), *arguments, **settings) as running:
        # One that ends is noticed at once.
        with anyio.fail_after(START_SECONDS):
            line = await running.logged("running on http")
            running.url = address(line)
            await running.logged("ready: serving")
        yield running


def address(line: str) -> str:
    """The URL in a log line."""
    found = re.search(r"http://[\w.:]+", line)
    assert found is not None
    return found[0]


async def rest_of(reader: asyncio.StreamReader) -> list[Any]:
    """The frames of a raw, chunked answer, to the end of its connection."""
    body = (await reader.read()).split(b"\r\n\r\n", 1)[1]
    text = b""
    while body:
        size, body = body.split(b"\r\n", 1)
        text, body = text + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return frames(text.decode())


async def test_nothing_an_exception_says_is_logged() -> None:
    async with ready() as running:
        async with running.client() as client:
            for fail in ("before", "after", "model", "tool", "interrupt", "late", "exit"):
                for stream in (True, False):
                    body = {"model": "failing", "input": "Go.", "stream": stream, "custom_inputs": {"fail": fail}}
                    await client.post("/responses", json=body)
            assert (await client.post("/responses", json={"model": "careless", "input": "Go."})).status_code == 200
            assert (await client.post("/responses", json={"model": "team", "input": "Go."})).status_code == 200
        running.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            await running.ended()
    log = "".join(running.log)
    assert PASSWORD not in log
    assert log.count("failed: graph_failed: Unreachable at ") == 8
    assert "could not connect" in log
    assert "Task exception was never retrieved" in log
    assert "ValueError at " in log


SETTING_APART = """
import gc, importlib
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

def count(state):
    if state["messages"][-1].content == "collections":
        before = gc.get_stats()[0]["collections"]
        kept = [[] for _ in range(4000)]
        return {"messages": [AIMessage(str(gc.get_stats()[0]["collections"] - before))]}
    if state["messages"][-1].content == "import":
        for number in range(40):
            importlib.import_module(f"late_module_{number}")
    return {"messages": [AIMessage(str(gc.get_freeze_count()))]}

builder = StateGraph(MessagesState)
builder.add_node(count)
builder.add_edge(START, "count")
builder.add_edge("count", END)
graph = builder.compile()
"""


async def test_the_collector_leaves_out_what_a_run_imports_and_seldom_interrupts_a_run(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"late_module_{number}.py").write_text("things = [[] for _ in range(1000)]")
    (tmp_path / "counting.py").write_text(SETTING_APART)
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"dependencies": ["."], "graphs": {"counting": "./counting.py:graph"}}))
    async with graph_agent("--config", str(config)) as running:
        with anyio.fail_after(120):
            running.url = address(await running.logged("running on http"))
            await running.logged("ready: serving")
        async with running.client() as client:

            async def apart(words: str) -> int:
                answer = await client.post("/responses", json={"input": words})
                return int(answer.json()["output"][0]["content"][0]["text"])

            with anyio.fail_after(120):
                while not (before := await apart("How many?")):
                    continue
                await apart("import")
                while await apart("How many?") < before + 40_000:
                    continue
                # Python's default is a collection for each 700 new objects.
                assert await apart("collections") <= 1


async def test_a_stopping_service_ends_its_streams_and_goes(upstream: Upstream, upstreams: Any) -> None:
    async with ready() as running:
        waiting, waiting_writer = await ask(running, upstream, stream=True)
        blocked, blocked_writer = await ask(running, await upstreams(), stream=True, custom_inputs={"node": "blocking"})
        whole, whole_writer = await ask(running, await upstreams(), stream=False)
        upstream.say("Half")
        stopped = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            streamed = [await rest_of(reader) for reader in (waiting, blocked)]
            replied = await whole.read()
            await running.ended()
        assert time.monotonic() - stopped < 15
        for writer in (waiting_writer, blocked_writer, whole_writer):
            writer.close()
            await writer.wait_closed()
    for *events, done in streamed:
        assert done == "[DONE]"
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert events[-1]["response"]["error"]["code"] == "service_stopping"
    assert replied.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"service_stopping"' in replied
    assert [line for line in running.log if "Traceback" in line] == []


async def test_a_run_that_ends_in_time_is_not_cut_by_a_stop(upstream: Upstream) -> None:
    async with ready() as running:
        reader, writer = await ask(running, upstream, stream=True)
        running.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            # Who comes now is told to come back, or finds the door shut.
            async with running.client() as client:
                while True:
                    try:
                        late = await client.post("/responses", json={"model": "plain", "input": "Hi"})
                    except httpx.TransportError:
                        break
                    if late.status_code == 503:
                        assert late.json()["error"]["code"] == "service_stopping"
                        assert late.headers["retry-after"] == "5"
                        assert (await client.get("/ready")).status_code == 503
                        break
            upstream.say("Whole.")
            upstream.end()
            events = await rest_of(reader)
            await running.ended()
        writer.close()
        await writer.wait_closed()
    assert events[-2]["response"]["output"][0]["content"][0]["text"] == "Whole."


async def test_neither_a_stuck_node_nor_a_stuck_tracking_server_nor_an_open_stream_keeps_the_process(
    upstream: Upstream, tmp_path: Path
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    tracking = await asyncio.start_server(silent, "127.0.0.1", 0)
    uri = f"http://127.0.0.1:{tracking.sockets[0].getsockname()[1]}"
    settings = {"GRAPH_AGENT_TRACING": "on", "GRAPH_AGENT_TRACKING_URI": uri, "XDG_CACHE_HOME": str(tmp_path)}
    async with ready(**settings) as running:
        async with running.client() as client:
            # A trace that waits to be delivered.
            assert (await client.post("/responses", json={"model": "plain", "input": "Hi"})).status_code == 200
        reader, writer = await ask(running, upstream, stream=True, custom_inputs={"node": "blocking"})
        stopped = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(15):
            *_, failed, done = await rest_of(reader)
            await running.ended()
        assert time.monotonic() - stopped < 15
        writer.close()
        await writer.wait_closed()
    tracking.close()
    assert (failed["response"]["error"]["code"], done) == ("service_stopping", "[DONE]")


async def test_databricks_apps_decides_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"DATABRICKS_APP_PORT": str(port), "GRAPH_AGENT_HOST": "127.0.0.1"}
    async with graph_agent("--config", str(GRAPHS), port=None, **environment) as running:
        with anyio.fail_after(20):
            assert address(await running.logged("running on http")) == f"http://127.0.0.1:{port}"


async def test_a_second_ctrl_c_waits_for_no_run_and_no_synchronous_node(upstream: Upstream) -> None:
    async with ready() as running:
        reader, writer = await ask(running, upstream, stream=True, custom_inputs={"node": "blocking"})
        running.process.send_signal(signal.SIGINT)
        with anyio.fail_after(20):
            await running.logged("stopping: 1 runs have 4 s to finish")
        running.process.send_signal(signal.SIGINT)
        with anyio.fail_after(3.5):
            *_, failed, done = await rest_of(reader)
            await running.ended()
        assert (failed["response"]["error"]["code"], done) == ("service_stopping", "[DONE]")
        writer.close()
        await writer.wait_closed()
    assert [line for line in running.log if "Traceback" in line] == []


async def test_several_workers_end_their_streams_too(upstream: Upstream) -> None:
    async with graph_agent("--config", str(GRAPHS), "--workers", "2", GRAPH_AGENT_MAX_SECONDS="9") as running:
        with anyio.fail_after(40):
            line = await running.logged("running on http")
            running.url = address(line)
            await running.logged("ready: serving", times=2)
            reader, writer = await ask(running, upstream, stream=True)
            async with running.client() as client:
                # One scrape answers for both: each has the 32 slots of the default.
                assert "graph_agent_run_slots 64.0" in (await client.get("/metrics")).text
        running.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(20):
            events = await rest_of(reader)
            await running.ended()
        writer.close()
        await writer.wait_closed()
    assert events[-1] == "[DONE]"
    assert events[-2]["response"]["error"]["code"] == "service_stopping"


async def test_workers_stop_when_their_parent_is_killed() -> None:
    async with graph_agent("--config", str(GRAPHS), "--workers", "2") as running:
        with anyio.fail_after(40):
            url = address(await running.logged("running on http"))
            await running.logged("ready: serving", times=2)
        running.process.kill()
        with anyio.fail_after(15):
            while await _answers(url):  # noqa: ASYNC110
                await anyio.sleep(0.1)


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(timeout=2) as client:
        try:
            await client.get(f"{url}/health")
        except httpx.HTTPError:
            return False
    return True


SLOW_TO_LOAD = """
import pathlib, time

while not pathlib.Path(__file__).with_name("go").exists():
    time.sleep(0.01)

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


def answer(state: MessagesState):
    return {"messages": [AIMessage("yes")]}


graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
"""


async def test_the_port_answers_before_the_graphs_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_TO_LOAD)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"slow": "./slow.py:graph"}}))
    async with graph_agent("--config", str(tmp_path / "langgraph.json")) as running:
        with anyio.fail_after(60):
            running.url = address(await running.logged("running on http"))
            async with running.client() as client:
                assert (await client.get("/health")).status_code == 200
                early = await client.get("/ready")
                assert (early.status_code, early.json()["error"]["code"]) == (503, "not_ready")
                (tmp_path / "go").touch()
                await running.logged("ready: serving")
                assert (await client.get("/ready")).status_code == 200


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (f"raise ValueError('{PASSWORD}')\n", "graph 'mine' did not load: ValueError at "),
        ("import sys\nsys.exit(3)\n", "graph 'mine' did not load: SystemExit at "),
    ],
    ids=["raises", "exits"],
)
async def test_a_graph_that_does_not_load_ends_the_start_and_says_why(tmp_path: Path, graph: str, words: str) -> None:
    (tmp_path / "mine.py").write_text(graph)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"mine": "./mine.py:graph"}}))
    async with graph_agent("--config", str(tmp_path / "langgraph.json")) as running:
        with anyio.fail_after(20):
            status = await running.ended()
    log = "".join(running.log)
    assert status == 1
    assert words in log
    assert PASSWORD not in log


async def test_a_store_that_cannot_be_used_ends_the_start_and_says_what_to_change(tmp_path: Path) -> None:
    (tmp_path / "notes.sqlite").write_text("These are my notes.\n" * 100)
    for store, words in (
        (f"sqlite:{tmp_path / 'notes.sqlite'}", "is not a SQLite database"),
        ("redis://here", "GRAPH_AGENT_STORE must be memory, sqlite:PATH"),
    ):
        async with graph_agent("--config", str(GRAPHS), GRAPH_AGENT_STORE=store) as running:
            with anyio.fail_after(30):
                assert await running.ended() == 1
        log = "".join(running.log)
        assert words in log
        assert "Traceback" not in log


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_port_that_is_taken_ends_the_start_and_says_so(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with graph_agent("--config", str(GRAPHS), "--workers", workers, "--port", port) as running:
            with anyio.fail_after(20):
                assert await running.ended() == 1
    assert "address already in use" in "".join(running.log).lower()
    assert "Traceback" not in "".join(running.log)

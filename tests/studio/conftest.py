"""LangGraph Studio's server as `graph-agent studio` starts it: on the project's graphs, and some that tests bring."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.standin.server import INDEX, ScriptedModel, StandIn, delta, results_in, says, stand_in

from graph_agent.testing import on_loopback

ROOT = Path(__file__).parents[2]
GRAPHS = Path(__file__).parent / "graphs"
PROJECT = tuple(json.loads((ROOT / "langgraph.json").read_text())["graphs"])
"""Every graph the project lists."""

CALLS = {
    "search_docs": {"query": "dark mode colour"},
    "transfer_to_documents": {"task": "colours"},
    "transfer_to_data": {"task": "6 * 7"},
    "main__tools__calculator": {"expression": "6 * 7"},
    "calculator": {"expression": "6 * 7"},
    "nap": {"seconds": 0.01},
}
LOOKS = ("search_docs", "transfer_to_documents")
SUMS = ("transfer_to_data", "main__tools__calculator", "calculator", "nap")

OWN = ("approving", "blocking", "blocking_tool")
"""Graphs that only these tests list."""

START_SECONDS = 180
_numbers = count()


@dataclass
class Studio:
    """A running `graph-agent studio`."""

    process: subprocess.Popen[str]
    port: int
    folder: Path
    log: list[str] = field(default_factory=list)
    lines: "queue.Queue[str | None]" = field(default_factory=queue.Queue)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> SyncLangGraphClient:
        return get_sync_client(url=self.url)

    def logged(self, words: str, *, seconds: float = START_SECONDS) -> str:
        """The next line with these words."""
        ends = time.monotonic() + seconds
        while (line := self.lines.get(timeout=max(ends - time.monotonic(), 0.01))) is not None:
            if words in line:
                return line
        raise AssertionError("".join(self.log))

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line)
            self.lines.put(line)
        self.lines.put(None)


@contextmanager
def graph_agent_studio(folder: Path, *arguments: str, **environ: str) -> Iterator[Studio]:
    """`graph-agent studio` on a free port, ended at the latest with the block; `langgraph.json` is that of `folder`."""
    foreign = ("GRAPH_AGENT_", "DATABRICKS_", "LANGSMITH_", "LANGCHAIN_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    values = {"PYTHONPATH": str(ROOT / "src"), "GRAPH_AGENT_INDEX": INDEX, "DATABRICKS_CONFIG_FILE": os.devnull}
    port = free_port()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in the background of a shell; whoever is started would ignore it too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "graph_agent", "studio", "--port", str(port),
         "--config", str(folder / "langgraph.json"), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=kept | values | environ, cwd=ROOT,
        # A process group of its own, as a terminal gives it.
        start_new_session=True,
    )  # fmt: skip
    running = Studio(process, port, folder)
    listener = threading.Thread(target=running.listen, daemon=True)
    listener.start()
    try:
        yield running
    finally:
        try:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=30)
            # All that it started writes there too.
            listener.join(timeout=30)
            assert not listener.is_alive(), "something that it started outlives it"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            listener.join(timeout=30)
            assert process.stdout is not None
            process.stdout.close()


def free_port() -> int:
    """A port nothing listens on now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def below(pid: int) -> list[int]:
    """The processes that a process started, and those that these did."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    started = [int(child) for child, parent in map(str.split, listed.splitlines()) if int(parent) == pid]
    return started + [one for child in started for one in below(child)]


def manifest(folder: Path, **more: str) -> Path:
    """A folder with a `langgraph.json` of the project's graphs, and of `more`."""
    listed = json.loads((ROOT / "langgraph.json").read_text())["graphs"]
    graphs = {name: str(ROOT / one["path"]) for name, one in listed.items()} | more
    folder.mkdir(exist_ok=True)
    (folder / "langgraph.json").write_text(json.dumps({"dependencies": ["."], "graphs": graphs}))
    return folder


def wants_tools_first(body: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """A tool call where tools are offered and none was called yet; then an answer that cites."""
    offered = [tool["function"]["name"] for tool in body.get("tools", [])]
    if not offered or results_in(body):
        return says("It ", "is ", "blue [1].")
    asked = [message["content"] for message in body["messages"] if message["role"] == "user"][-1]
    name, arguments = next((name, CALLS[name]) for name in (SUMS if "*" in asked else LOOKS) if name in offered)
    function = {"name": name, "arguments": json.dumps(arguments)}
    piece = {"index": 0, "id": f"call_{next(_numbers)}", "type": "function", "function": function}
    return [delta(tool_calls=[piece]), delta("tool_calls")]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with stand_in(tmp_path_factory.mktemp("standin"), model=ScriptedModel(wants_tools_first)) as running:
        yield running


class Site:
    """A site on loopback in LangSmith's place, which keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def answer(self, request: Request) -> JSONResponse:
        self.asked.append(f"{request.method} {request.url.path}")
        return JSONResponse({})

    @contextmanager
    def served(self) -> Iterator[dict[str, str]]:
        """The variables of somebody who has an account there."""
        methods = ["GET", "POST", "PATCH", "HEAD"]
        with on_loopback(Starlette(routes=[Route("/{path:path}", self.answer, methods=methods)])) as url:
            yield {"LANGSMITH_API_KEY": "planted-key", "LANGSMITH_ENDPOINT": url, "LANGCHAIN_ENDPOINT": url}


@pytest.fixture(scope="module")
def langsmith() -> Site:
    return Site()


@pytest.fixture(scope="module")
def studio(standing: StandIn, langsmith: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    own = {name: f"{GRAPHS / name}.py:graph" for name in OWN}
    folder = manifest(tmp_path_factory.mktemp("project"), **own)
    with (
        langsmith.served() as account,
        graph_agent_studio(folder, "--real-workspace", "--no-reload", **standing.environment(), **account) as running,
    ):
        running.logged("Ready on ")
        yield running


@pytest.fixture
def client(studio: Studio) -> Iterator[SyncLangGraphClient]:
    with studio.client() as one:
        yield one

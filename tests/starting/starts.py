"""`graph-agent dev` and `serve` as processes in a group of their own, and what they leave behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent.parent

GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph


def say(state: MessagesState):
    return {"messages": [("ai", "Hello.")]}


graph = StateGraph(MessagesState).add_node("say", say).add_edge(START, "say").compile()
"""


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def project(folder: Path) -> Path:
    """A folder with one graph."""
    (folder / "mine.py").write_text(GRAPH)
    (folder / "langgraph.json").write_text('{"graphs": {"mine": "./mine.py:graph"}}')
    return folder


class Start:
    """A command that starts, and every process that carries its mark."""

    def __init__(self, folder: Path, *command: str, environ: Mapping[str, str] | None = None) -> None:
        self.port, self.workspace_port = free_port(), free_port()
        self.mark = f"start-{os.getpid()}-{self.port}"
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("GRAPH_AGENT_", "DATAB"))}
        given = {
            "START_MARK": self.mark,
            "GRAPH_AGENT_PORT": str(self.port),
            "GRAPH_AGENT_WORKSPACE_PORT": str(self.workspace_port),
            # The workspace is real; only its language model would be somebody else's, and is never asked.
            "GRAPH_AGENT_LOCAL_MODEL": "http://127.0.0.1:9/v1",
            "GRAPH_AGENT_TRACING": "off",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self.output = folder / f"{self.mark}.log"
        with self.output.open("w") as written:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "graph_agent", *command],
                cwd=folder,
                env=plain | given | dict(environ or {}),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Everything written so far."""
        return self.output.read_text()

    def ready(self, seconds: float = 180) -> bool:
        """Whether it becomes ready within the time; at once when it ends."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and self.process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{self.port}/ready", timeout=2).status_code == 200:
                    return True
            time.sleep(0.05)
        return False

    def said_in_time(self, words: str, seconds: float = 180) -> bool:
        """Whether it writes the words within the time; at once when it ends."""
        ends = time.monotonic() + seconds
        while words not in self.said and time.monotonic() < ends and self.process.poll() is None:
            time.sleep(0.05)
        return words in self.said

    def interrupt(self) -> None:
        """Ctrl-C, to the whole group, as a terminal does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)

    def left(self) -> list[int]:
        """Every process that is still there: whoever inherited the mark, in whatever group or session."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                ended = (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if not ended and f"START_MARK={self.mark}".encode() in (place / "environ").read_bytes():
                    found.append(int(place.name))
        return found

    def gone(self, seconds: float) -> bool:
        """Whether all of it ends within the time."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if self.process.poll() is not None and not self.left():
                return True
            time.sleep(0.02)
        return False

    def end(self) -> None:
        """In any case."""
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def starting(folder: Path, *command: str, environ: Mapping[str, str] | None = None) -> Iterator[Start]:
    """It, ended at the latest with the block."""
    start = Start(folder, *command, environ=environ)
    try:
        yield start
    finally:
        start.end()

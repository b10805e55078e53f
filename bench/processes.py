"""Servers as subprocesses: started, waited for, weighed, and ended with the bench."""

import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""

FOREIGN = ("GRAPH_AGENT_", "MLFLOW_", "DATABRICKS_", "LANGCHAIN_", "LANGSMITH_", "LANGGRAPH_", "OTEL_")
"""Variables of the caller's shell that would change what a server does."""

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ServerBroken(Exception):
    """A server did not start, or has ended."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    started: float
    """`time.perf_counter()` when its process was created."""

    @property
    def pid(self) -> int:
        """Process id, also of its process group."""
        return self.process.pid

    def wait_until_it_answers(self, *, seconds: float) -> float:
        """Seconds from start until the port answers HTTP, with whatever status.

        Raises:
            ServerBroken: it ended, or took longer than `seconds`.
        """
        while time.perf_counter() - self.started < seconds:
            if answers(self.port):
                return time.perf_counter() - self.started
            self.check()
            time.sleep(0.005)
        raise ServerBroken(f"no answer within {seconds:.0f} s; {self.last_words()}")

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            ServerBroken: it has ended.
        """
        if self.process.poll() is not None:
            raise ServerBroken(f"ended with exit code {self.process.returncode}; {self.last_words()}")

    def last_words(self) -> str:
        """The end of its output."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "its last words: " + " | ".join(lines[-3:]) if lines else "it said nothing"


class Servers:
    """Starts servers, each in a process group of its own."""

    def __init__(self, guard: subprocess.Popen[bytes], folder: Path) -> None:
        self._guard = guard
        self.folder = folder
        """Theirs for anything they write; removed at the end."""
        self._running: list[Server] = []

    def start(self, name: str, arguments: Sequence[str], *, port: int, environ: Mapping[str, str]) -> Server:
        """Start `python ARGUMENTS` in the bench's own folder, with nothing of the shell's settings."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env={**kept, "PYTHONPATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert self._guard.stdin is not None
        self._guard.stdin.write(b"%d\n" % process.pid)
        self._guard.stdin.flush()
        server = Server(process, port, log, started)
        self._running.append(server)
        return server

    def stop(self) -> None:
        """Ask all to end; the guard sees to those that do not."""
        for server in self._running:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
        for server in self._running:
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(timeout=3)


@contextmanager
def servers() -> Iterator[Servers]:
    """Servers that outlive neither the block nor this process."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    guard = subprocess.Popen([sys.executable, str(ROOT / "bench" / "guard.py"), str(folder)], stdin=subprocess.PIPE)
    running = Servers(guard, folder)
    try:
        yield running
    finally:
        running.stop()
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(timeout=10)


def free_port() -> int:
    """A port of loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether `GET /health` gets any HTTP answer within a second."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def memory_mb(pid: int) -> float:
    """Resident memory of the process and its descendants, shared pages counted in each; NaN where there is no /proc."""
    if not PROC.is_dir():
        return math.nan
    return sum(int(_read(one, "statm").split()[1]) for one in _tree(pid)) * PAGE_BYTES / 1e6


def cpu_seconds(pid: int) -> float:
    """CPU time the process and its descendants have used, user and system; NaN where there is no /proc."""
    if not PROC.is_dir():
        return math.nan
    # Behind the name, which may hold blanks, `utime` and `stime` are fields 11 and 12; see proc(5).
    fields = [_read(one, "stat").rpartition(")")[2].split() for one in _tree(pid)]
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS_PER_SECOND


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in (PROC / str(parent) / "task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _read(pid: int, name: str) -> str:
    return (PROC / str(pid) / name).read_text()

"""Runs servers as subprocesses: starts them, measures their memory and CPU time, and ends them with the benchmark."""

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
"""Prefixes of variables of the caller's shell that would change the behavior of a server."""

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
    """`time.perf_counter()` at the creation of the process."""

    @property
    def pid(self) -> int:
        """The id of the process and of its process group."""
        return self.process.pid

    def wait_until_it_answers(self, *, seconds: float) -> float:
        """Return the seconds from start until the port answers HTTP with any status.

        Raises:
            ServerBroken: the server ended, or took longer than `seconds`.
        """
        while time.perf_counter() - self.started < seconds:
            if answers(self.port):
                return time.perf_counter() - self.started
            self.check()
            time.sleep(0.005)
        raise ServerBroken(f"no answer within {seconds:.0f} s; {self.last_output()}")

    def check(self) -> None:
        """Check that the server is still running.

        Raises:
            ServerBroken: it has ended.
        """
        if self.process.poll() is not None:
            raise ServerBroken(f"ended with exit code {self.process.returncode}; {self.last_output()}")

    def last_output(self) -> str:
        """Return the end of its output."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "its last output: " + " | ".join(lines[-3:]) if lines else "it printed nothing"


class Servers:
    """Starts servers, each in a separate process group."""

    def __init__(self, guard: subprocess.Popen[bytes], folder: Path) -> None:
        self._guard = guard
        self.folder = folder
        """The folder for all files of the servers. It is removed at the end."""
        self._running: list[Server] = []

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        port: int,
        environ: Mapping[str, str],
        python: str | Path = sys.executable,
    ) -> Server:
        """Start `python ARGUMENTS` in the folder of the benchmark, without the settings of the shell."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [str(python), *arguments],
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
        """Ask all servers to end. The guard kills those that do not."""
        for server in self._running:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
        for server in self._running:
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(timeout=3)


@contextmanager
def servers() -> Iterator[Servers]:
    """Yield a starter of servers. The servers end with the block, and also if this process is killed."""
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
    """Return a port of the loopback interface that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether `GET /health` gets any HTTP answer within a second."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def memory_mb(pid: int) -> float:
    """Return the resident memory of the process and its descendants, in MB; NaN if there is no /proc.

    Shared pages count in each process.
    """
    if not PROC.is_dir():
        return math.nan
    return sum(int(_read(one, "statm").split()[1]) for one in _tree(pid)) * PAGE_BYTES / 1e6


def cpu_seconds(pid: int) -> float:
    """Return the user and system CPU time of the process and its descendants, in seconds; NaN if there is no /proc."""
    if not PROC.is_dir():
        return math.nan
    # After the name, which may contain spaces, `utime` and `stime` are fields 11 and 12; see proc(5).
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


def processor_ticks() -> tuple[int, int]:
    """Return how many ticks the processors of this machine worked since it started, and how many its host took away.

    The second is the steal time of `/proc/stat`, described in proc_stat(5). Both are 0 without such a file.
    """
    try:
        numbers = [int(number) for number in (PROC / "stat").read_text().partition("\n")[0].split()[1:9]]
        user, nice, system, _, _, irq, softirq, steal = numbers
    except (OSError, ValueError):
        return 0, 0
    return user + nice + system + irq + softirq, steal


def share_taken(before: tuple[int, int]) -> float:
    """Return the share of the processor time since `before` that the host took away, from 0 to 1."""
    worked, taken = (now - then for now, then in zip(processor_ticks(), before, strict=True))
    return taken / (worked + taken) if worked + taken else 0.0

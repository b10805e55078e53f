"""Several worker processes on one socket. Each is a complete service; the parent starts, replaces and stops them.

uvicorn's own supervisor is not used: it runs uvicorn's server, which does not end open streams with an event.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Protocol

from graph_agent.processes.child import end_with_this_process
from graph_agent.processes.end_with_parent import end_worker_with_parent
from graph_agent.processes.shutdown import STOP_SECONDS, TRACES_SECONDS, exit_now, takes_longer, watch_signals
from graph_agent.serving.logs import configure_logging
from graph_agent.settings import Settings

logger = logging.getLogger(__name__)

NOT_LOADED = 1
"""The exit status after a failed start, and of a worker whose graphs did not load. Another worker would fail too, so
none is started in its place."""

LAST_WORKER_SECONDS = 1.0
"""How much longer than its workers the parent waits, so that each can still say why it took so long."""

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable in which prometheus-client expects the folder where several processes count together."""


class Serve(Protocol):
    """Serves in the calling process, on bound sockets. It must be a module's function, or a `partial` of one: a spawned
    process imports it."""

    def __call__(self, settings: Settings, sockets: list[socket.socket], *, announces: bool) -> int:
        """Returns the exit status. One of the workers announces what is served."""


def serve_with_workers(settings: Settings, count: int, serve: Serve) -> int:
    """Run `serve` in each of `count` processes until SIGTERM or SIGINT, and return the exit status."""
    configure_logging(settings.log_format)
    try:
        listening = listening_socket(settings.host, settings.port)
    except OSError as error:
        logger.error(
            "cannot listen on %s port %d: %s; stop the program that uses the port, or choose another one with --port "
            "or GRAPH_AGENT_PORT",
            settings.host,
            settings.port,
            error.strerror,
        )
        return NOT_LOADED
    # Only this user can read it: see `tempfile.mkdtemp`.
    metrics = Path(tempfile.mkdtemp(prefix="graph-agent-metrics-"))
    try:
        with listening:
            logger.info("%d workers running on http://%s:%d", count, *listening.getsockname()[:2])
            return _Workers(settings, listening, count, serve, metrics).run()
    finally:
        shutil.rmtree(metrics, ignore_errors=True)


def metrics_folder() -> Path | None:
    """Where this process counts together with the other workers, or `None` if it is no worker."""
    folder = os.environ.get(METRICS_FOLDER)
    return Path(folder) if folder and multiprocessing.parent_process() is not None else None


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket whose connections send small frames without delay."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With an explicit IPPROTO_TCP: only then does asyncio turn off Nagle's algorithm, which delays frames by 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError:
        listening.close()
        raise
    return listening


class _Workers:
    def __init__(self, settings: Settings, listening: socket.socket, count: int, serve: Serve, metrics: Path) -> None:
        self._settings = settings
        self._serve = serve
        self._listening = listening
        self._stopping = False
        self._metrics = metrics
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        self._workers = {place: self._start(place) for place in range(count)}

    def run(self) -> int:
        """Replace workers that end, until the service stops and the last one has ended. Returns the exit status."""
        status = 0
        while self._workers:
            wait([worker.sentinel for worker in self._workers.values()], timeout=1.0)
            for place, worker in [one for one in self._workers.items() if one[1].exitcode is not None]:
                del self._workers[place]
                if worker.exitcode == NOT_LOADED:
                    status = NOT_LOADED
                    self._stop()
                elif not self._stopping:
                    logger.error("a worker ended with status %s; starting another", worker.exitcode)
                    self._workers[place] = self._start(place)
        return status

    def _start(self, place: int) -> SpawnProcess:
        # What the one before has counted is kept, but not its state.
        for file in self._metrics.glob(f"gauge_live*_{place}.db"):
            file.unlink(missing_ok=True)
        arguments = (self._serve, self._settings, self._listening, self._metrics, place)
        worker = multiprocessing.get_context("spawn").Process(target=_work, args=arguments)
        worker.start()
        if worker.pid is not None:
            end_with_this_process(worker.pid)
        return worker

    def _stop(self) -> None:
        if not self._stopping and _has_local_traces(self._settings):
            # Each worker ends itself in this time. A parent that ends earlier kills them, and their traces are lost.
            takes_longer(STOP_SECONDS + TRACES_SECONDS + LAST_WORKER_SECONDS, what="the end of the workers")
        self._stopping = True
        for worker in self._workers.values():
            worker.terminate()


def _has_local_traces(settings: Settings) -> bool:
    uri = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return settings.tracing != "off" and (not uri or uri.startswith("sqlite:"))


def _work(serve: Serve, settings: Settings, listening: socket.socket, metrics: Path, place: int) -> None:
    watch_signals()
    end_worker_with_parent()
    if settings.metrics != "off":
        _count_in(metrics, place)
    exit_now(serve(settings, [listening], announces=place == 0))


def _count_in(folder: Path, place: int) -> None:
    """Let all counters of this process be files in that folder, which every worker reads. A worker that takes the place
    of another one goes on with its files, so their number does not grow."""
    os.environ[METRICS_FOLDER] = str(folder)
    # Late: it is not needed without workers, and it reads the variable when it is imported.
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]

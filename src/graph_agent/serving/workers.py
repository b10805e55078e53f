"""Several worker processes on one socket. Each is a complete service; the parent starts, replaces and stops them.

uvicorn's own supervisor is not used: it runs uvicorn's server, which does not end open streams with an event.
"""

import logging
import multiprocessing
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from graph_agent.processes.child import end_with_this_process
from graph_agent.processes.end_with_parent import end_worker_with_parent
from graph_agent.processes.shutdown import exit_now, watch_signals
from graph_agent.serving.logs import configure_logging
from graph_agent.settings import Settings

logger = logging.getLogger(__name__)

NOT_LOADED = 1
"""The exit status after a failed start, and of a worker whose graphs did not load. Another worker would fail too, so
none is started in its place."""

Serve = Callable[[Settings, list[socket.socket]], int]
"""Serves in the calling process, on bound sockets. It must be a module's function, or a `partial` of one: a spawned
process imports it."""


def serve_with_workers(settings: Settings, count: int, serve: Serve) -> int:
    """Run `serve` in each of `count` processes until SIGTERM or SIGINT, and return the exit status."""
    configure_logging(settings.log_format)
    try:
        listening = listening_socket(settings.host, settings.port)
    except OSError as error:
        logger.error("cannot listen on %s port %d: %s", settings.host, settings.port, error.strerror)
        return NOT_LOADED
    with listening:
        logger.info("%d workers running on http://%s:%d", count, *listening.getsockname()[:2])
        return _Workers(settings, listening, count, serve).run()


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket whose connections send small frames without delay."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With an explicit IPPROTO_TCP: only then does asyncio turn off Nagle's algorithm, which delays frames by 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(2048)
    return listening


class _Workers:
    def __init__(self, settings: Settings, listening: socket.socket, count: int, serve: Serve) -> None:
        self._settings = settings
        self._serve = serve
        self._listening = listening
        self._stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        self._workers = [self._start() for _ in range(count)]

    def run(self) -> int:
        """Replace workers that end, until the service stops and the last one has ended. Returns the exit status."""
        status = 0
        while self._workers:
            wait([worker.sentinel for worker in self._workers], timeout=1.0)
            for worker in [worker for worker in self._workers if worker.exitcode is not None]:
                self._workers.remove(worker)
                if worker.exitcode == NOT_LOADED:
                    status = NOT_LOADED
                    self._stop()
                elif not self._stopping:
                    logger.error("a worker ended with status %s; starting another", worker.exitcode)
                    self._workers.append(self._start())
        return status

    def _start(self) -> SpawnProcess:
        arguments = (self._serve, self._settings, self._listening)
        worker = multiprocessing.get_context("spawn").Process(target=_work, args=arguments)
        worker.start()
        if worker.pid is not None:
            end_with_this_process(worker.pid)
        return worker

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.terminate()


def _work(serve: Serve, settings: Settings, listening: socket.socket) -> None:
    watch_signals()
    end_worker_with_parent()
    exit_now(serve(settings, [listening]))

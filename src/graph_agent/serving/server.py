"""uvicorn with our own shutdown: open streams get their terminal event, then the process ends without waiting for
threads that are still busy."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette

from graph_agent.errors import AgentError, BadSetting
from graph_agent.foreign_errors import describe_error
from graph_agent.lazy import collect_garbage_less_often
from graph_agent.serving.app import create_app
from graph_agent.serving.connection import Connection, raise_descriptors
from graph_agent.serving.logs import configure_logging, log_uncaught
from graph_agent.serving.socket_connection import SocketConnection
from graph_agent.settings import Settings
from graph_agent.threads import GraphLoop

logger = logging.getLogger(__name__)

GRACE_SECONDS = 4.0
"""How long active runs may go on after SIGTERM. Databricks Apps kills the process after 15 s."""

CLOSE_SECONDS = 3
"""How long connections may take to close after that."""

DESCRIPTORS = 8192
"""Files and connections that this process asks the system to allow."""

MORE_MODULES = 20
"""After this many new modules, the objects of imported modules are removed from the garbage collector's work."""

BACKLOG = 512
"""Connections that may wait to be accepted. asyncio tries this many at a time, even when no descriptor is free."""


class Server(uvicorn.Server):
    """Ends open streams with a terminal event before it closes their connections. Waits for no thread."""

    loop: asyncio.AbstractEventLoop
    _modules = 0

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the process gets a signal. The loop is not closed: that would wait for synchronous nodes."""
        self.loop = GraphLoop()
        self.loop.set_exception_handler(log_uncaught)
        self.loop.set_default_executor(self._app.state.nodes)
        limits = self._app.state.connection_limits
        self.config.http_protocol_class = partial(Connection, limits=limits)  # type: ignore[assignment]
        self.config.ws_protocol_class = partial(SocketConnection, limits=limits)  # type: ignore[assignment]
        self.config.ws_max_size = limits.message_bytes
        # A few compressed bytes may be megabytes.
        self.config.ws_per_message_deflate = False
        asyncio.set_event_loop(self.loop)
        serving = self.loop.create_task(self.serve(sockets))
        while True:
            try:
                return self.loop.run_until_complete(serving)
            except (SystemExit, KeyboardInterrupt) as error:
                # From the task of a graph, since Ctrl-C has a handler. asyncio stops its loop for these two, which
                # would end every run; here the loop starts again and only that run fails.
                if serving.done():
                    raise
                logger.error("a graph tried to end the process: %s", describe_error(error))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As in uvicorn, but a handled signal is not raised again: the caller still has its own shutdown to do."""
        # Python allows signal handlers in the main thread only; tests serve in others.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def on_tick(self, counter: int) -> bool:
        """As in uvicorn, ten times a second. Also keeps the objects of imported modules from the garbage collector."""
        # Graphs, first runs and the trace store import modules, which stay for the life of the process. A full
        # collection that walks over their objects blocks every request for 0.2 s and more.
        if counter % 10 == 0 and len(sys.modules) >= self._modules + MORE_MODULES:
            self._modules = len(sys.modules)
            gc.freeze()
        return await super().on_tick(counter)

    @property
    def _app(self) -> Starlette:
        if not self.config.loaded:
            self.config.load()
        app: Any = self.config.loaded_app
        while not isinstance(app, Starlette):
            app = app.app  # middleware that uvicorn wraps around our app
        return app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As in uvicorn, after the runs have finished or were ended."""
        await self._app.state.drain(within_seconds=GRACE_SECONDS, is_forced=lambda: self.force_exit)
        await super().shutdown(sockets)


def serve(settings: Settings, *, workers: int = 1, tracebacks: bool = False, schedules: bool = False) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status, which is 1 when the graphs did not load.

    `tracebacks` writes whole tracebacks of graphs and tools into a text log. It is for `dev`, with one worker.
    `schedules` begins the runs of the file of schedules.

    Raises:
        BadSetting: `workers` is below 1.
    """
    if workers < 1:
        raise BadSetting("a service needs at least one worker", param="workers")
    if workers == 1:
        return serve_here(settings, tracebacks=tracebacks, schedules=schedules)
    # Late: one process needs no multiprocessing.
    from graph_agent.serving.workers import serve_with_workers

    return serve_with_workers(settings, workers, partial(serve_here, schedules=schedules))


def serve_here(
    settings: Settings,
    sockets: list[socket.socket] | None = None,
    *,
    tracebacks: bool = False,
    schedules: bool = False,
    announces: bool = True,
) -> int:
    """Serve in this process, on `sockets` if they are given, which must be bound.

    With `announces`, the log says what is served to whom.
    """
    # Late: one process needs no multiprocessing.
    metrics_folder = None
    if sockets is not None:
        from graph_agent.serving import workers

        metrics_folder = workers.metrics_folder()
    failures: list[AgentError] = []
    configure_logging(settings.log_format, tracebacks=tracebacks)

    def stop(error: AgentError) -> None:
        failures.append(error)
        server.should_exit = True

    raise_descriptors(DESCRIPTORS)
    collect_garbage_less_often()
    # With reload on, the service keeps running when a graph is broken: the developer fixes it and asks again.
    app = create_app(
        settings,
        on_failed_start=None if settings.reload == "on" else stop,
        # Several workers have one socket and one store.
        shares_store=sockets is not None,
        runs_schedules=schedules,
        metrics_folder=metrics_folder,
        announces=announces,
    )
    server = Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=CLOSE_SECONDS,
            server_header=False,
        )
    )
    # Now, because it imports and configures: while the thread imports the graphs, that could deadlock (see `lazy`).
    server.config.load()
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        pass
    except SystemExit:
        # uvicorn raises it when it cannot bind the port, and has logged the reason of the system.
        if not server.started:
            logger.error(
                "the service cannot listen on %s port %d; stop the program that uses the port, or choose another one "
                "with --port or GRAPH_AGENT_PORT",
                settings.host,
                settings.port,
            )
    return 1 if failures or not server.started else 0

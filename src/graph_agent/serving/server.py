"""uvicorn, told how to stop: open streams end properly, then the process goes, whatever still holds threads."""

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
from graph_agent.serving.app import create_app
from graph_agent.serving.connection import Connection, raise_descriptors
from graph_agent.serving.logs import configure_logging, log_uncaught
from graph_agent.settings import Settings
from graph_agent.threads import GraphLoop

logger = logging.getLogger(__name__)

GRACE_SECONDS = 4.0
"""For runs under way to finish by themselves after SIGTERM; Databricks Apps kills after 15 s."""

CLOSE_SECONDS = 3
"""For connections to close after that."""


DESCRIPTORS = 8192
"""Files and connections this process asks to be allowed to open."""

MORE_MODULES = 20
"""So many more, and what is imported is set apart from what the collector walks over."""

BACKLOG = 512
"""Connections that may wait to be accepted. asyncio tries as many at once, also where none can be opened any more."""


class Server(uvicorn.Server):
    """Ends open streams with a terminal event before it closes their connections, and waits for no thread."""

    loop: asyncio.AbstractEventLoop
    _modules = 0

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop. The loop is left as it is: closing it would wait for synchronous nodes."""
        self.loop = GraphLoop()
        self.loop.set_exception_handler(log_uncaught)
        self.loop.set_default_executor(self._app.state.nodes)
        limits = self._app.state.connection_limits
        self.config.http_protocol_class = partial(Connection, limits=limits)  # type: ignore[assignment]
        asyncio.set_event_loop(self.loop)
        serving = self.loop.create_task(self.serve(sockets))
        while True:
            try:
                return self.loop.run_until_complete(serving)
            except (SystemExit, KeyboardInterrupt) as error:
                # Of a graph's task, as Ctrl-C has a handler. It ends its run; asyncio would end all of them.
                if serving.done():
                    raise
                logger.error("a graph tried to end the process: %s", describe_error(error))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that was heeded is not raised anew: what called us has its own end to make."""
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
        """As uvicorn's, ten times a second. What was imported since, by graphs, first runs or the store of traces, is
        there for good: were it left to the collector, its full rounds would hold everybody up for 0.2 s and more."""
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
            app = app.app  # uvicorn's own middleware around ours
        return app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, after the runs are drained."""
        await self._app.state.drain(within_seconds=GRACE_SECONDS, is_forced=lambda: self.force_exit)
        await super().shutdown(sockets)


def serve(settings: Settings, *, workers: int = 1, tracebacks: bool = False) -> int:
    """Serve until SIGTERM or SIGINT; the exit status, 1 when the graphs did not load.

    With `tracebacks`, whole tracebacks of graphs and tools are written to standard output, where that is text: for
    `dev`, in one process.
    """
    if workers < 1:
        raise BadSetting("a service needs at least one worker", param="workers")
    if workers == 1:
        return serve_here(settings, tracebacks=tracebacks)
    from graph_agent.serving.workers import serve_with_workers

    return serve_with_workers(settings, workers, serve_here)


def serve_here(settings: Settings, sockets: list[socket.socket] | None = None, *, tracebacks: bool = False) -> int:
    """Serve in this process, on `sockets` if they are bound already."""
    failures: list[AgentError] = []
    configure_logging(settings.log_format, tracebacks=tracebacks)

    def stop(error: AgentError) -> None:
        failures.append(error)
        server.should_exit = True

    raise_descriptors(DESCRIPTORS)
    # With reload on, a broken graph is something to mend while the service runs.
    app = create_app(settings, on_failed_start=None if settings.reload == "on" else stop)
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
    # Before the graphs are imported in a thread: beside that, nothing here may import or configure anything.
    server.config.load()
    # uvicorn exits by itself where it cannot listen.
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.run(sockets)
    return 1 if failures or not server.started else 0

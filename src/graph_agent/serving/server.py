"""uvicorn, told how to stop: open streams end properly, then the process goes, whatever still holds threads."""

import asyncio
import os
import signal
import socket
from typing import Any, NoReturn

import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

from graph_agent.errors import AgentError
from graph_agent.serving.app import create_app
from graph_agent.settings import Settings, as_environment

GRACE_SECONDS = 4.0
"""For runs under way to finish by themselves after SIGTERM; Databricks Apps kills after 15 s."""

CLOSE_SECONDS = 3
"""For connections to close after that."""


class Server(uvicorn.Server):
    """Ends open streams with a terminal event before it closes their connections."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, after the runs are drained."""
        app: Any = self.config.loaded_app
        while not isinstance(app, Starlette):
            app = app.app  # uvicorn's own middleware around ours
        await app.state.drain(grace_seconds=0.0 if self.force_exit else GRACE_SECONDS)
        await super().shutdown(sockets)


def serve(settings: Settings, *, workers: int = 1) -> int:
    """Serve until SIGTERM or SIGINT; the exit status, 1 when the graphs did not load."""
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "log_config": LOGGING,
        "access_log": False,
        "timeout_graceful_shutdown": CLOSE_SECONDS,
        "server_header": False,
    }
    if workers > 1:
        return _serve_with_workers(settings, workers, options)
    failures: list[AgentError] = []

    def stop(error: AgentError) -> None:
        failures.append(error)
        server.should_exit = True

    # With reload on, a broken graph is something to mend while the service runs.
    app = create_app(settings, on_failed_start=None if settings.reload == "on" else stop)
    server = Server(uvicorn.Config(app, **options))
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    return 1 if failures or not server.started else 0


def _serve_with_workers(settings: Settings, workers: int, options: dict[str, Any]) -> int:
    """Several processes behind one socket. Graphs are loaded here first: a worker that cannot would be restarted
    for ever."""
    from graph_agent.catalog import Catalog, read_manifest

    asyncio.run(Catalog(read_manifest(settings.config), default=settings.graph).open())
    os.environ.update(as_environment(settings))
    config = uvicorn.Config("graph_agent.serving.app:app_from_environment", factory=True, workers=workers, **options)
    Multiprocess(config, target=Server(config).run, sockets=[config.bind_socket()]).run()
    return 0


def leave(status: int) -> NoReturn:
    """End the process now: threads of synchronous nodes and native libraries would hold the interpreter open."""
    for stream in (1, 2):
        try:
            os.fsync(stream)
        except OSError:
            continue
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os._exit(status)


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "graph_agent": {"level": "INFO"},
        "uvicorn": {"level": "INFO"},
    },
}

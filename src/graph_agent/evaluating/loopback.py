"""ASGI apps on loopback in a thread, and the environment in which Databricks' clients find them."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from graph_agent.serving.server import Server
from graph_agent.serving.workers import listening_socket


@contextmanager
def serving(app: ASGIApp, *, port: int = 0) -> Iterator[str]:
    """The app's URL while it runs; a free port unless one is named."""
    listener = listening_socket("127.0.0.1", port)
    # Graphs need the threads that our own server gives their nodes; a stand-in needs none.
    kind = Server if isinstance(app, Starlette) and hasattr(app.state, "nodes") else uvicorn.Server
    server = kind(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=15)
        listener.close()
        # Our own server leaves its loop to the process's end; here the process goes on.
        if isinstance(server, Server) and not thread.is_alive():
            server.loop.close()


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """The process's environment with `values` and no other `DATABRICKS_*`."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("DATABRICKS_")]:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

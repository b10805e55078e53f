"""Serves an ASGI app on the loopback interface while a block runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from graph_agent.serving.server import Server
from graph_agent.serving.workers import listening_socket

STOP_SECONDS = 15


@contextmanager
def on_loopback(app: ASGIApp, *, port: int = 0) -> Iterator[str]:
    """Serve the app in a thread until the block ends, and yield its URL. `port=0` takes a free port."""
    listener = listening_socket("127.0.0.1", port)
    # Our server gives synchronous nodes their own threads. Other apps have no such nodes.
    ours = hasattr(getattr(app, "state", None), "nodes")
    server = (Server if ours else uvicorn.Server)(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    # A daemon: an app that does not stop must not keep the test process running.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listener.close()
        # Our server leaves its event loop open because the process normally ends. Here the process continues.
        if isinstance(server, Server) and not thread.is_alive():
            server.loop.close()

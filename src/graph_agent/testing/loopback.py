"""An ASGI app on a free port of this machine, while a block runs."""

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
    """The URL of the app, which a thread serves until the block ends. It takes a free port unless one is named."""
    listener = listening_socket("127.0.0.1", port)
    # Graphs need the threads that graph-agent's own server gives their nodes.
    ours = hasattr(getattr(app, "state", None), "nodes")
    server = (Server if ours else uvicorn.Server)(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listener.close()
        # Our own server leaves its loop to the end of the process; here the process goes on.
        if isinstance(server, Server) and not thread.is_alive():
            server.loop.close()

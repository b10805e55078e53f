"""`graph-agent dev`, `workspace`, `index` and `model`: the commands of a laptop."""

import http.client
import os
import secrets
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_agent.children import Child
from graph_agent.errors import LocalWorkspaceError
from graph_agent.manifest import known_graph, read_manifest
from graph_agent.settings import PREFIX, Settings, as_environment

if TYPE_CHECKING:
    from graph_agent.local.access import Credentials

START_SECONDS = 3600
"""A first start downloads a gigabyte; progress is shown meanwhile."""

STOP_SECONDS = 5.0

PATIENCE: Mapping[str, float] = {
    "silence_seconds": 600.0,
    "request_seconds": 600.0,
    "model_seconds": 600.0,
    "max_seconds": 900.0,
}
"""Limits with the model on this machine: beside other work it was seen to read one prompt for four minutes."""


def dev(settings: Settings, *, real_workspace: bool = False, quiet: bool = False) -> int:
    """The local workspace in a process of its own, and the service in this one; the exit status.

    `quiet` is for whoever started it to ask one question: no greeting, and no tracebacks in its log.
    """
    from graph_agent.serving.logs import configure_logging
    from graph_agent.serving.server import serve

    configure_logging(settings.log_format, tracebacks=not quiet)
    # Before the minute that loading a model can take.
    specs = read_manifest(settings.config)
    if settings.graph is not None:
        known_graph(settings.graph, specs)
    demand_free_port(settings.port, "set GRAPH_AGENT_PORT")
    if not real_workspace:
        settings = patient(settings, os.environ)
    os.environ.update(as_environment(settings))
    if real_workspace:
        return serve(settings, tracebacks=not quiet)
    with LocalWorkspace(settings) as workspace:
        workspace.enter(os.environ)
        # What the first question would wait ten seconds for, while the workspace loads its model. In this thread, and
        # before the server: a thread that imports beside one that locks may stop both for good (`late`).
        import databricks_langchain  # noqa: F401

        workspace.wait()
        if not quiet:
            threading.Thread(target=_announce, args=(settings,), daemon=True).start()
        return serve(settings, tracebacks=not quiet)


class LocalWorkspace:
    """`graph-agent workspace` as a child process that ends with its parent, however that ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client_id = secrets.token_hex(16)
        self._secret = secrets.token_urlsafe(32)
        self._child: Child | None = None

    def __enter__(self) -> "LocalWorkspace":
        demand_free_port(self._settings.workspace_port, "set GRAPH_AGENT_WORKSPACE_PORT")
        environment = dict(os.environ) | as_environment(self._settings)
        self.enter(environment)
        command = [sys.executable, "-m", "graph_agent.local.tethered", "0", "graph_agent", "workspace"]
        self._child = Child(command, environ=environment)
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.stop(STOP_SECONDS)

    def enter(self, environment: MutableMapping[str, str]) -> None:
        """Make `environment` one in which every Databricks client finds this workspace, and no other."""
        for name in [name for name in environment if name.startswith("DATABRICKS_")]:
            del environment[name]
        environment.update(
            DATABRICKS_HOST=f"http://127.0.0.1:{self._settings.workspace_port}",
            # As on Databricks Apps: a service principal, no token.
            DATABRICKS_CLIENT_ID=self._client_id,
            DATABRICKS_CLIENT_SECRET=self._secret,
            DATABRICKS_CONFIG_FILE=os.devnull,
        )

    def wait(self) -> None:
        """Until it answers.

        Raises:
            LocalWorkspaceError: it ended instead; it has said why itself.
        """
        assert self._child is not None
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            if self._child.poll() is not None:
                raise LocalWorkspaceError("the local workspace did not start; its message stands above")
            if answers(self._settings.workspace_port):
                return
            time.sleep(0.1)
        raise LocalWorkspaceError("the local workspace did not start in an hour; try a smaller model")


def run_workspace(settings: Settings) -> int:
    """Fetch and index what is missing, then serve the Databricks REST routes on loopback until told to stop."""
    import uvicorn

    from graph_agent.local import preparation
    from graph_agent.local.access import Credentials
    from graph_agent.local.indexes import LocalIndexes
    from graph_agent.local.workspace import create_workspace

    credentials = _credentials(Credentials.generate())
    embedder = preparation.embedder(settings)
    backend = preparation.chat_backend(settings)
    preparation.index_documentation(settings, embedder)
    with closing(LocalIndexes(settings.cache_dir, embedder)) as indexes:
        app = create_workspace(backend, indexes, embedder=embedder, credentials=credentials)
        config = uvicorn.Config(
            app, host="127.0.0.1", port=settings.workspace_port, log_level="warning", timeout_graceful_shutdown=2
        )
        uvicorn.Server(config).run()
    return 0


def index(paths: Sequence[str], *, settings: Settings, name: str | None = None, hidden: bool = False) -> int:
    """Index files and folders under a name; the exit status, 1 when nothing could be indexed.

    Raises:
        LocalWorkspaceError: a path or the name is none.
    """
    if not all(paths):
        raise LocalWorkspaceError("an empty path stands for the whole current folder; write . to index that")
    from graph_agent.local import preparation
    from graph_agent.local.indexes import checked_name

    name = checked_name(preparation.own_index(settings) if name is None else name)
    embedder = preparation.embedder(settings)
    report = preparation.index_documents(paths, settings=settings, embedder=embedder, name=name, hidden=hidden)
    if not (report.added or report.changed or report.unchanged or report.removed):
        return 1
    where = "" if name == settings.index else f", or with GRAPH_AGENT_INDEX={name} by every graph that names none"
    preparation.console.print(f'search it with DocumentSearch(index="{name}"){where}', soft_wrap=True)
    return 0


def fetch(settings: Settings) -> int:
    """Fetch and verify the weights the local workspace needs."""
    from graph_agent.local import preparation

    preparation.embedder(settings)
    if not preparation.is_upstream(settings):
        preparation.console.print(f"model: {preparation.model_path(settings)}")
    return 0


def answers(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def responds(url: str) -> bool:
    """Whether a server of this machine answers a GET of `url` with success; asked without the environment's proxy."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def demand_free_port(port: int, remedy: str) -> None:
    """See that nothing listens there yet.

    Raises:
        LocalWorkspaceError: something does; `remedy` is how to choose another port.
    """
    if answers(port):
        raise LocalWorkspaceError(f"port {port} is taken; stop what uses it, or {remedy}")


def patient(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """With the time a small machine takes to read a prompt, where the environment does not say how long to wait."""
    longer: dict[str, Any] = {
        name: seconds for name, seconds in PATIENCE.items() if f"{PREFIX}{name.upper()}" not in environ
    }
    return replace(settings, **longer)


def _credentials(fresh: "Credentials") -> "Credentials":
    """Those of the environment, so that a parent process knows them; else fresh ones, shown to whoever started us."""
    client_id, secret = os.environ.get("DATABRICKS_CLIENT_ID"), os.environ.get("DATABRICKS_CLIENT_SECRET")
    if client_id and secret:
        return replace(fresh, client_id=client_id, client_secret=secret)
    print(f"export DATABRICKS_CLIENT_ID={fresh.client_id} DATABRICKS_CLIENT_SECRET={fresh.client_secret}", flush=True)
    return fresh


def _announce(settings: Settings) -> None:
    address = f"http://{settings.host}:{settings.port}"
    while not answers(settings.port):
        time.sleep(0.1)
    print(
        f"\nReady on {address}. Try:\n\n"
        f"  curl -N {address}/invocations -H 'content-type: application/json' "
        '-d \'{"input": "How do I serve my own graph?", "stream": true}\'\n'
        f"  {Path(sys.executable).parent}/graph-agent ask 'How do I search documents of my own?'\n",
        file=sys.stderr,
        flush=True,
    )

"""`graph-agent studio`: run LangGraph Studio's server on the graphs of `langgraph.json`, with the local workspace."""

import argparse
import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from graph_agent.catalog.manifest import GraphSpec, read_manifest
from graph_agent.commands.options import add_config, add_workspace_options, port_number, settings_from
from graph_agent.errors import LocalWorkspaceError
from graph_agent.local.ports import require_free_port, responds
from graph_agent.local.workspace_process import LocalWorkspace, with_local_limits
from graph_agent.processes.child import ChildProcess
from graph_agent.settings import Settings, as_environment

PORT = 2024
"""The port that Studio's page uses by default. Source: LangGraph CLI reference."""

OTHER_PORT = "choose another one with --port"

SITE = "https://smith.langchain.com"
"""The only site with pages that may read the server's answers (CORS). LangGraph's default allows every site."""

ENVIRONMENT = ".venv-studio"
"""The virtual environment of the server. It needs older versions of protobuf and grpcio than the service."""

QUIET = {
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    # Without these, a LANGSMITH_API_KEY in the environment is enough to send every conversation, and counts of runs,
    # to LangSmith.
    "LANGSMITH_CONTROL_PLANE_API_KEY": "",
    "LANGGRAPH_CLOUD_LICENSE_KEY": "",
}
"""LangGraph's own switches. Nothing is sent to another host unless LANGSMITH_TRACING=true asks for it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the graphs, the port, and the choice of workspace."""
    add_config(parser)
    # A `dest` other than "port", because `settings_from` would take that for the port of the service.
    parser.add_argument(
        "--port",
        type=port_number,
        default=PORT,
        dest="studio_port",
        metavar="PORT",
        help=f"port to listen on (default: {PORT})",
    )
    add_workspace_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return studio(
        settings_from(options),
        port=options.studio_port,
        reload=not options.no_reload,
        real_workspace=options.real_workspace,
    )


def studio(settings: Settings, *, port: int = PORT, reload: bool = True, real_workspace: bool = False) -> int:
    """Run the local workspace and `langgraph dev`, each in a child process, until Ctrl-C. Returns the exit status.

    The server starts in the folder of `langgraph.json` and keeps its threads there, in `.langgraph_api`. A blocking
    call in an async node fails the run, because in the service it would block every other run.

    Raises:
        GraphNotLoaded: `langgraph.json` does not exist or cannot be read.
        LocalWorkspaceError: the port is in use, the server is not installed, or the workspace did not start.
    """
    python, specs = _python(settings.config.resolve().parent), read_manifest(settings.config)
    require_free_port(port, OTHER_PORT)
    if not real_workspace:
        settings = with_local_limits(settings, os.environ)
    # The last one wins: the environment may allow other origins, but it may not undo QUIET.
    environment = {"CORS_ALLOW_ORIGINS": SITE} | dict(os.environ) | as_environment(settings) | QUIET
    with contextlib.ExitStack() as stack:
        # Handle SIGTERM like Ctrl-C, so that the exit stack stops both children and waits for them.
        signal.signal(signal.SIGTERM, _interrupt)
        if not real_workspace:
            workspace = stack.enter_context(LocalWorkspace(settings))
            workspace.enter(environment)
            workspace.wait()
        # Check again: the first start may have taken minutes, and the workspace has bound a port too. LangGraph would
        # silently use another port.
        require_free_port(port, OTHER_PORT)
        server = _Server(python, settings.config.resolve(), specs, port=port, reload=reload, environ=environment)
        return stack.enter_context(server).wait()


class _Server:
    """`langgraph dev` as a child process that ends with its parent, even if the parent is killed."""

    def __init__(
        self,
        python: Path,
        config: Path,
        specs: list[GraphSpec],
        *,
        port: int,
        reload: bool,
        environ: Mapping[str, str],
    ) -> None:
        self._port = port
        self._names = [spec.name for spec in specs]
        # Do not watch the whole project: it may contain virtual environments with thousands of folders.
        watched = {str(spec.path.parent): None for spec in specs} if reload else {}
        command = [str(python), "-m", "graph_agent.local.studio.server", *watched, "--"]
        dev = ["dev", "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--no-browser"]
        self._command = [*command, *dev, *([] if reload else ["--no-reload"])]
        self._folder, self._environ = config.parent, environ
        self._child: ChildProcess | None = None

    def __enter__(self) -> "_Server":
        self._child = ChildProcess(self._command, folder=self._folder, environ=self._environ)
        threading.Thread(target=self._announce, args=(self._child,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.stop()

    def wait(self) -> int:
        """Wait until Ctrl-C and return the exit status. It is 1 if the server ended by itself: it printed why it could
        not start."""
        assert self._child is not None
        try:
            self._child.wait()
        except KeyboardInterrupt:
            # Stopping takes a bounded time. A second Ctrl-C shortens it, so it must not raise here.
            signal.signal(signal.SIGINT, _pass)
            signal.signal(signal.SIGTERM, _pass)
            return 0
        return 1

    def _announce(self, child: ChildProcess) -> None:
        address = f"http://127.0.0.1:{self._port}"
        while child.poll() is None and not responds(f"{address}/ok"):
            time.sleep(0.2)
        if child.poll() is None:
            print(_greeting(address, self._names), file=sys.stderr, flush=True)


def _greeting(address: str, names: list[str]) -> str:
    return (
        f"\nReady on {address}: {', '.join(names)}.\n\n"
        f"  Studio   {SITE}/studio/?baseUrl={address}\n"
        "           a page on LangSmith's site that connects to this address; needs internet access and a login\n"
        f"  API      {address}, for langgraph-sdk; needs neither\n"
        "  Ctrl-C   stops the server and the local workspace\n"
    )


def _python(folder: Path) -> Path:
    """The interpreter that has the server installed: this one, or that of `.venv-studio` beside `langgraph.json`."""
    if importlib.util.find_spec("langgraph_api"):
        return Path(sys.executable)
    for place in (folder, Path.cwd(), Path(sys.prefix).parent):
        for python in (place / ENVIRONMENT / "bin" / "python", place / ENVIRONMENT / "Scripts" / "python.exe"):
            if python.exists():
                return python
    raise LocalWorkspaceError(
        "LangGraph's server is not installed; install it in a separate environment: "
        f"python -m venv {ENVIRONMENT} && {ENVIRONMENT}/bin/pip install 'FOLDER[studio]', "
        "where FOLDER is a checkout or the file of a wheel of graph-agent"
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _pass(*_: object) -> None:
    """Ignore the signal. Not `SIG_IGN`, because the code that watches for a second Ctrl-C would not see it."""

"""`graph-agent traces`: show the local traces in MLflow's web pages, with as few processes as possible."""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time

from graph_agent.commands.options import port_number, settings_from
from graph_agent.errors import NoTraces
from graph_agent.local.ports import require_free_port, responds
from graph_agent.processes.child import ChildProcess
from graph_agent.settings import Settings

PORT = 5000
"""MLflow's default."""

OTHER_PORT = "choose another one with --port"

END_SECONDS = "10"
"""How long the server may take to shut down after this process has ended."""

LIGHT = {
    # Otherwise MLflow starts eight more processes, for evaluations on a server.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    # The user cannot fix the warnings of MLflow's own libraries.
    "PYTHONWARNINGS": "ignore",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Environment variables that keep MLflow's server small, quiet and offline."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the port of the pages."""
    # A `dest` other than "port", because `settings_from` would take that for the port of the service.
    parser.add_argument(
        "--port",
        type=port_number,
        default=PORT,
        dest="traces_port",
        metavar="PORT",
        help=f"port to listen on (default: {PORT})",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return show(settings_from(options), port=options.traces_port)


def show(settings: Settings, *, port: int = PORT) -> int:
    """Serve MLflow's pages on loopback until Ctrl-C. Returns the exit status.

    Raises:
        NoTraces: nothing was traced on this machine yet, or traces are stored elsewhere.
        LocalWorkspaceError: the port is in use.
    """
    elsewhere = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if elsewhere:
        raise NoTraces(
            "traces are not stored on this machine: GRAPH_AGENT_TRACKING_URI or MLFLOW_TRACKING_URI is set; "
            "open that tracking server, or unset the variable"
        )
    store = settings.cache_dir / "traces.db"
    if not store.is_file():
        raise NoTraces(
            f"there are no traces yet: {store} does not exist; ask a question first, with GRAPH_AGENT_TRACING=on"
        )
    require_free_port(port, OTHER_PORT)
    # `mlflow server` creates folders for artifacts in its working directory. Traces have no artifacts.
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "graph_agent.processes.end_with_parent",
            END_SECONDS,
            "mlflow",
            "server",
            "--backend-store-uri",
            f"sqlite:///{store.resolve()}",
        ]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--no-serve-artifacts"]
        command += ["--default-artifact-root", folder, "--uvicorn-opts", "--log-level warning"]
        # Handle SIGTERM like Ctrl-C, so that the server does not outlive this process.
        signal.signal(signal.SIGTERM, _interrupt)
        server = ChildProcess(command, environ=dict(os.environ) | LIGHT, folder=folder)
        threading.Thread(target=_announce, args=(server, port, settings.experiment), daemon=True).start()
        try:
            server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            server.stop()
    return 1


def _announce(server: ChildProcess, port: int, experiment: str) -> None:
    address = f"http://127.0.0.1:{port}"
    while server.poll() is None and not responds(f"{address}/health"):
        time.sleep(0.2)
    if server.poll() is None:
        print(f"\nTraces on {address}, in the experiment {experiment!r}. Press Ctrl-C to stop.\n", file=sys.stderr)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

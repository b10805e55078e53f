"""`graph-agent traces`: MLflow's own pages on the local traces, with as few processes as it takes."""

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
"""MLflow's own."""

OTHER_PORT = "choose another: graph-agent traces --port 5001"

END_SECONDS = "10"
"""For an orderly end after this process has gone."""

LIGHT = {
    # Else it starts eight processes more, for evaluations on a server.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # Warnings of its own libraries are nothing that the reader can fix.
    "PYTHONWARNINGS": "ignore",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to serve the pages."""
    parser.add_argument("--port", type=port_number, default=PORT, dest="traces_port", metavar="P", help="default: 5000")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return show(settings_from(options), port=options.traces_port)


def show(settings: Settings, *, port: int = PORT) -> int:
    """Serve MLflow's pages on loopback until Ctrl-C; the exit status.

    Raises:
        NoTraces: nothing was traced on this machine yet, or traces go elsewhere.
        LocalWorkspaceError: the port is taken.
    """
    elsewhere = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if elsewhere:
        raise NoTraces(
            "traces do not go to this machine: GRAPH_AGENT_TRACKING_URI or MLFLOW_TRACKING_URI names another place; "
            "look there, or unset it"
        )
    store = settings.cache_dir / "traces.db"
    if not store.is_file():
        raise NoTraces(
            f"there are no traces yet: {store} does not exist; ask something first, with GRAPH_AGENT_TRACING=on"
        )
    require_free_port(port, OTHER_PORT)
    # `mlflow` makes folders for artifacts where it runs; traces have none.
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
        # As Ctrl-C, so that the server does not outlive this process.
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
        print(f"\nTraces on {address}, in the experiment {experiment!r}. Ctrl-C stops.\n", file=sys.stderr)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt

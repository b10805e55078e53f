"""Starts the app on this machine, from exactly the files that would be uploaded, and waits until it is ready."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from graph_agent.deploying.app_file import AppFile
from graph_agent.deploying.error_text import last_lines
from graph_agent.deploying.sources import Source
from graph_agent.deploying.store_requirements import STORE
from graph_agent.errors import DeployRefused

DATABASES = ("postgresql://", "postgres://", "projects/")
"""The stores that the app shares with others."""

LAST_LINES = 15
"""Lines of the app's output that are shown if it does not become ready."""

LOCAL_VARIABLES = ("GRAPH_AGENT_", "DATABRICKS_APP_", "MLFLOW_", "PYTHONPATH", "PG")
"""Prefixes of variables of this shell that the deployed app will not have."""


def rehearse(files: Mapping[str, Source], source: str, app: AppFile, *, seconds: float) -> float:
    """Start the app from a copy of `files` and wait for `/ready`. Returns the seconds it took.

    The app listens on loopback only. `source` is the app's folder relative to the bundle's.

    Raises:
        DeployRefused: it ended, or was not ready in time. The message ends with the last lines of its output.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="graph-agent-") as name:
        folder = Path(name)
        for one in files.values():
            (folder / "files" / one.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "files" / one.path).write_bytes(one.content)
        port = _free_port()
        with _started(folder / "files" / source, folder / "output", app, port) as child:
            if _becomes_ready(child, port, began + seconds):
                return time.monotonic() - began
            ended = child.poll()
        what = f"it was not ready within {seconds:g} s" if ended is None else f"it ended with status {ended}"
        raise DeployRefused(f"the app does not start from the files to upload: {what}\n{_tail(folder / 'output')}")


@contextmanager
def _started(folder: Path, output: Path, app: AppFile, port: int) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(LOCAL_VARIABLES)}
    environment = inherited | dict(app.environment) | {"DATABRICKS_APP_PORT": str(port)}
    # DATABRICKS_APP_PORT makes the service listen on all interfaces, so set the host too.
    environment |= {"GRAPH_AGENT_HOST": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"}
    store = environment.get(STORE, "")
    if not store or store.startswith(DATABASES):
        # The tables would belong to the deployer, and the app could not use them. By default, it would be the file with
        # the deployer's own conversations.
        environment[STORE] = "memory"
    # A file and not a pipe: nobody reads a pipe meanwhile, and a full one would block the app.
    with output.open("wb") as file:
        try:
            child = subprocess.Popen(
                _command(app.command, port),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        except OSError:
            raise DeployRefused(f"the app's command cannot run: {app.command[0]} was not found") from None
        try:
            yield child
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                try:
                    # The time that Databricks Apps gives an app after SIGTERM.
                    child.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()


def _command(command: Sequence[str], port: int) -> list[str]:
    # This interpreter has the app's packages; the first `python` on the PATH may not.
    program = sys.executable if command[0] in ("python", "python3") else command[0]
    # Databricks Apps replaces only this variable in a command.
    return [program, *(part.replace("$DATABRICKS_APP_PORT", str(port)) for part in command[1:])]


def _becomes_ready(child: subprocess.Popen[bytes], port: int, ends: float) -> bool:
    # `trust_env=False` ignores the environment's proxy, which cannot reach loopback.
    with httpx.Client(timeout=5, trust_env=False) as client:
        while child.poll() is None and time.monotonic() < ends:
            try:
                if client.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _tail(output: Path) -> str:
    text = output.read_text(encoding="utf-8", errors="replace")
    return "\n".join(f"  | {line}" for line in last_lines(text, LAST_LINES))

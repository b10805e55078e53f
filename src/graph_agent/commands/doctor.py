"""`graph-agent doctor`: what is missing, and how to fix it."""

import argparse
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from graph_agent.app_context import AppContext
from graph_agent.catalog.manifest import read_manifest
from graph_agent.commands.check import Check
from graph_agent.commands.options import settings_from
from graph_agent.commands.workspace_checks import databricks
from graph_agent.errors import AgentError
from graph_agent.local.packages import INSTALL, missing_packages
from graph_agent.settings import Settings

NEEDED_BYTES = 3 * 1024**3
ANSWER_SECONDS = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the list of graphs is."""
    parser.add_argument("--config", type=Path, metavar="FILE")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return doctor(settings_from(options))


def doctor(settings: Settings) -> int:
    """Run every check and print it. The exit status is 1 when something needs fixing."""
    # What runs on Apps has neither the local workspace nor a port to choose.
    looks = EVERYWHERE if os.environ.get("DATABRICKS_APP_NAME") else EVERYWHERE + ON_A_LAPTOP
    with AppContext(settings).entered():
        checks = [check for look in looks for check in look(settings)]
    for check in checks:
        print(f"{'ok  ' if check.ok else 'FIX '} {check.what}")
        if not check.ok:
            print(f"     -> {check.fix}")
    return 0 if all(check.ok for check in checks) else 1


def _python(settings: Settings) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(sys.version_info >= (3, 11), f"Python {version}", "use Python 3.11 or later")


def _graphs(settings: Settings) -> Iterator[Check]:
    import asyncio

    from graph_agent.catalog.catalog import Catalog

    try:
        catalog = Catalog(read_manifest(settings.config), default=settings.default_graph)
        asyncio.run(catalog.open())
    except AgentError as error:
        yield Check(False, f"graphs of {settings.config}", error.message)
    else:
        yield Check(True, f"graphs of {settings.config}: {', '.join(catalog.names)}")


def _port(settings: Settings) -> Iterator[Check]:
    for name, port, ours in (
        ("GRAPH_AGENT_PORT", settings.port, _service),
        ("GRAPH_AGENT_WORKSPACE_PORT", settings.workspace_port, _local_workspace),
    ):
        if _is_free(port):
            yield Check(True, f"port {port} is free")
        elif running := ours(settings):
            yield Check(True, f"port {port}: {running}")
        else:
            yield Check(False, f"port {port} is taken", f"stop what uses it, or set {name}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _service(settings: Settings) -> str:
    """What is said of a graph-agent that runs there; empty where something else does."""
    token = settings.bearer_token
    status = _asked(settings.port, "/ready", {"Authorization": f"Bearer {token}"} if token else {}).get("status")
    if status == "ready":
        return "a graph-agent runs there and is ready"
    return "a graph-agent runs there and is not ready yet; its log says why" if status == "not_ready" else ""


def _local_workspace(settings: Settings) -> str:
    # What every Databricks client asks first.
    found = _asked(settings.workspace_port, "/.well-known/databricks-config")
    return "the local workspace of a graph-agent runs there" if found.get("oidc_endpoint") else ""


def _asked(port: int, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> Mapping[str, Any]:
    """The JSON object that a server of this machine answers; an empty one where it answers something else."""
    import httpx

    try:
        # Without the environment's proxy: that is for elsewhere.
        with httpx.Client(trust_env=False, timeout=ANSWER_SECONDS, headers=dict(headers)) as client:
            answer = client.get(f"http://127.0.0.1:{port}{path}").json()
    except (httpx.HTTPError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _workspace(settings: Settings) -> Iterator[Check]:
    host = os.environ.get("DATABRICKS_HOST")
    if host:
        yield Check(True, f"Databricks workspace of the environment: {host} (`dev` uses the local one regardless)")
        return
    missing = missing_packages()
    yield Check(
        not missing,
        f"packages of the local workspace{': missing ' + ', '.join(missing) if missing else ''}",
        INSTALL,
    )


def _weights(settings: Settings) -> Iterator[Check]:
    from graph_agent.local.weights.fetch import is_verified
    from graph_agent.local.weights.known_weights import MINILM, MINILM_TOKENIZER, WEIGHTS

    known = WEIGHTS.get(settings.local_model)
    if known is None:
        there = settings.local_model.startswith("http") or Path(settings.local_model).expanduser().is_file()
        yield Check(there, f"local model {settings.local_model}", "GRAPH_AGENT_LOCAL_MODEL names no file or URL")
        return
    for asset in (known, MINILM, MINILM_TOKENIZER):
        there = is_verified(settings.cache_dir / asset.file_name, asset)
        yield Check(there, f"{asset.file_name} verified", "graph-agent model fetches it (graph-agent dev does too)")


def _disk(settings: Settings) -> Iterator[Check]:
    folder = settings.cache_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Check(
        free > NEEDED_BYTES,
        f"{free / 1024**3:.0f} GB free for {settings.cache_dir}",
        "free 3 GB, or set GRAPH_AGENT_CACHE_DIR to a larger disk",
    )


EVERYWHERE: tuple[Callable[[Settings], Iterator[Check]], ...] = (_python, _graphs, databricks)
ON_A_LAPTOP: tuple[Callable[[Settings], Iterator[Check]], ...] = (_workspace, _weights, _port, _disk)

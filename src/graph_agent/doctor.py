"""`graph-agent doctor`: what is missing, and how to mend it."""

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from graph_agent.errors import AgentError
from graph_agent.finding import Finding
from graph_agent.manifest import read_manifest
from graph_agent.settings import Settings
from graph_agent.workspace_checks import databricks

LOCAL_PACKAGES = ("xllamacpp", "onnxruntime", "tokenizers", "pypdf", "lxml", "trafilatura", "rich")
NEEDED_BYTES = 3 * 1024**3
ANSWER_SECONDS = 2.0


def doctor(settings: Settings) -> int:
    """Look at everything and print it; the exit status, 1 when something is to be mended."""
    # What runs on Apps has neither the local workspace nor a port to choose.
    looks = EVERYWHERE if os.environ.get("DATABRICKS_APP_NAME") else EVERYWHERE + ON_A_LAPTOP
    findings = [finding for look in looks for finding in look(settings)]
    for finding in findings:
        print(f"{'ok  ' if finding.well else 'MEND'} {finding.what}")
        if not finding.well:
            print(f"     -> {finding.mend}")
    return 0 if all(finding.well for finding in findings) else 1


def _python(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(sys.version_info >= (3, 11), f"Python {version}", "use Python 3.11 or later")


def _graphs(settings: Settings) -> Iterator[Finding]:
    import asyncio

    from graph_agent.catalog import Catalog

    try:
        catalog = Catalog(read_manifest(settings.config), default=settings.graph)
        asyncio.run(catalog.open())
    except AgentError as error:
        yield Finding(False, f"graphs of {settings.config}", error.message)
    else:
        yield Finding(True, f"graphs of {settings.config}: {', '.join(catalog.names)}")


def _port(settings: Settings) -> Iterator[Finding]:
    for name, port, ours in (
        ("GRAPH_AGENT_PORT", settings.port, _service),
        ("GRAPH_AGENT_WORKSPACE_PORT", settings.workspace_port, _local_workspace),
    ):
        if _is_free(port):
            yield Finding(True, f"port {port} is free")
        elif running := ours(settings):
            yield Finding(True, f"port {port}: {running}")
        else:
            yield Finding(False, f"port {port} is taken", f"stop what uses it, or set {name}")


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


def _workspace(settings: Settings) -> Iterator[Finding]:
    host = os.environ.get("DATABRICKS_HOST")
    if host:
        yield Finding(True, f"Databricks workspace of the environment: {host} (`dev` uses the local one regardless)")
        return
    missing = [name for name in LOCAL_PACKAGES if importlib.util.find_spec(name) is None]
    yield Finding(
        not missing,
        f"packages of the local workspace{': missing ' + ', '.join(missing) if missing else ''}",
        "pip install --require-hashes -r requirements-local.txt, or run make setup",
    )


def _weights(settings: Settings) -> Iterator[Finding]:
    from graph_agent.local.assets import MINILM, MINILM_TOKENIZER, WEIGHTS
    from graph_agent.local.weights import is_verified

    known = WEIGHTS.get(settings.local_weights)
    if known is None:
        there = settings.local_weights.startswith("http") or Path(settings.local_weights).expanduser().is_file()
        yield Finding(there, f"local model {settings.local_weights}", "GRAPH_AGENT_LOCAL_WEIGHTS names no file or URL")
        return
    for asset in (known, MINILM, MINILM_TOKENIZER):
        there = is_verified(settings.cache_dir / asset.file_name, asset)
        yield Finding(there, f"{asset.file_name} verified", "graph-agent model fetches it (make dev does too)")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.cache_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Finding(
        free > NEEDED_BYTES,
        f"{free / 1024**3:.0f} GB free for {settings.cache_dir}",
        "free 3 GB, or set GRAPH_AGENT_CACHE_DIR to a larger disk",
    )


EVERYWHERE: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_python, _graphs, databricks)
ON_A_LAPTOP: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_workspace, _weights, _port, _disk)

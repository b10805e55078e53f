"""The checks of `graph-agent doctor` of the two ports: who has them, and whether that is in the way."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any

import httpx

from graph_agent.catalog.manifest import read_manifest
from graph_agent.commands.check import Check
from graph_agent.errors import GraphNotLoaded, Unauthenticated
from graph_agent.printable import one_line
from graph_agent.processes.port_holder import PortHolder, port_holder
from graph_agent.settings import Settings

ANSWER_SECONDS = 2.0
"""How long a server on this machine may take to identify itself."""

MOST_BYTES = 1 << 20
"""Bytes of an answer. A program of another kind may send without an end."""

MOST_NAMED = 10
"""Foreign graphs that are named."""

MOST_LETTERS = 120
"""Characters of a foreign name that are shown."""

HEALTHY = {"status": "healthy"}
"""What a graph-agent service answers at `/health`."""

SERVICE, WORKSPACE = "a graph-agent service", "a local workspace of graph-agent"


def ports(settings: Settings) -> Iterator[Check]:
    """Check the port of the service and that of the local workspace."""
    service = _service(settings)
    yield service.check
    workspace = _local_workspace(settings)
    # The workspace of that service, or the one that the environment asks for. `dev` cannot start beside any other.
    host, port = os.environ.get("DATABRICKS_HOST"), settings.workspace_port
    if workspace.is_ours and not service.is_ours and host != f"http://127.0.0.1:{port}":
        yield Check(
            False,
            f"{workspace.check.what}, of a service on another port than {settings.port}, so `dev` cannot start here",
            "stop the `graph-agent` that runs it, or set GRAPH_AGENT_WORKSPACE_PORT",
        )
    else:
        yield workspace.check


@dataclass(frozen=True, slots=True)
class _Port:
    """A port, and whether a graph-agent that is in order runs there."""

    check: Check
    is_ours: bool = False


class _NoAnswer(Enum):
    """Why a server has told nothing."""

    SILENT = auto()
    """It lets a client connect, and says nothing in time."""

    OTHER = auto()
    """It is another program."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Mapping[str, Any]


def _service(settings: Settings) -> _Port:
    name, port = "GRAPH_AGENT_PORT", settings.port
    if _is_free(port):
        return _Port(Check(True, f"port {port} is free"))
    holder = port_holder(port)
    # First, and without the token, which another program must not get.
    health = _asked(port, "/health")
    if isinstance(health, _NoAnswer) or health.body != HEALTHY:
        return _taken(name, port, health if isinstance(health, _NoAnswer) else _NoAnswer.OTHER, holder)
    token = settings.bearer_token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    ready = _asked(port, "/ready", headers)
    if ready is _NoAnswer.SILENT:
        # It asks its store and its workspace, which may take longer.
        what = f"port {port}: {SERVICE} runs there, and does not say within {ANSWER_SECONDS:g} s whether it is ready"
        return _Port(Check(True, f"{what}; see its log{_started(settings, holder)}"), True)
    if isinstance(ready, _NoAnswer):
        return _taken(name, port, ready, holder)
    if _refuses_token(ready):
        fix = f"set GRAPH_AGENT_BEARER_TOKEN to its token if it is yours; else {_stopping(SERVICE, holder)}"
        what = f"port {port}: {SERVICE} runs there{_started(settings, holder)}, and expects another bearer token"
        return _Port(Check(False, what, f"{fix}, or set {name}"))
    status = ready.body.get("status")
    if status not in ("ready", "not_ready"):
        return _taken(name, port, _NoAnswer.OTHER, holder)
    listed, served = _listed(settings), _served(port, headers) if status == "ready" else ()
    if listed and served and not set(listed) & set(served):
        named = ", ".join([*served[:MOST_NAMED], *(["…"] if len(served) > MOST_NAMED else [])])
        what = (
            f"port {port}: {SERVICE} of another project runs there{_started(settings, holder)}: its graphs are "
            f"{named}, and {settings.config} lists {', '.join(listed)}"
        )
        return _Port(Check(False, what, f"{_stopping(SERVICE, holder)}, or set {name} here"))
    words = "is ready" if status == "ready" else "is not ready yet; see its log"
    return _Port(Check(True, f"port {port}: {SERVICE} runs there and {words}{_started(settings, holder)}"), True)


def _local_workspace(settings: Settings) -> _Port:
    name, port = "GRAPH_AGENT_WORKSPACE_PORT", settings.workspace_port
    if _is_free(port):
        return _Port(Check(True, f"port {port} is free"))
    # Every Databricks client requests this address first, so every workspace answers it without credentials.
    found = _asked(port, "/.well-known/databricks-config")
    if isinstance(found, _NoAnswer):
        return _taken(name, port, found, port_holder(port))
    if not found.body.get("oidc_endpoint"):
        return _taken(name, port, _NoAnswer.OTHER, port_holder(port))
    return _Port(Check(True, f"port {port}: {WORKSPACE} runs there"), True)


def _taken(name: str, port: int, why: _NoAnswer, holder: PortHolder | None) -> _Port:
    """A port whose holder is not a graph-agent that answers."""
    late = f"does not answer within {ANSWER_SECONDS:g} s"
    if why is _NoAnswer.SILENT and holder is not None and holder.command is not None:
        what = WORKSPACE if holder.command == "workspace" else SERVICE
        where = f"port {port}: {what} ({_named(holder)}) holds it and {late}"
        if holder.is_stopped:
            goes_on = f"continue it with `fg` in its terminal, or with `kill -CONT {holder.pid}`"
            end = f"`kill -CONT {holder.pid}; kill {holder.pid}`"
            return _Port(Check(False, f"{where}: it is suspended", f"{goes_on}; or end it with {end}; or set {name}"))
        wait = "ask again in a minute, because it may be busy"
        return _Port(Check(False, where, f"{wait}; or end it with `kill {holder.pid}`; or set {name}"))
    if why is _NoAnswer.SILENT and holder is None:
        what = f"port {port} is in use by a program that {late}"
        fix = "if it is a `graph-agent`, it may be busy, or suspended with Ctrl-Z; else stop that program"
        return _Port(Check(False, what, f"{fix}, or set {name}"))
    by = "" if holder is None else f" by {_named(holder)}"
    return _Port(Check(False, f"port {port} is in use{by}", f"stop the program that uses it, or set {name}"))


def _stopping(what: str, holder: PortHolder | None) -> str:
    return f"stop {what.replace('a ', 'that ', 1)}" + ("" if holder is None else f" with `kill {holder.pid}`")


def _named(holder: PortHolder) -> str:
    program = holder.program if holder.command is None else f"graph-agent {holder.command}".rstrip()
    return f"process {holder.pid}, `{one_line(program)[:MOST_LETTERS]}`"


def _started(settings: Settings, holder: PortHolder | None) -> str:
    """Where it was started, if that is not the folder of this project. Two projects may have the same graphs."""
    folder = None if holder is None else holder.folder
    if folder is None or folder == settings.config.resolve().parent:
        return ""
    return f", started in {one_line(str(folder))}"


def _listed(settings: Settings) -> Sequence[str]:
    """The graphs of this project."""
    try:
        return [spec.name for spec in read_manifest(settings.config)]
    except GraphNotLoaded:
        # Another check says what is wrong with the file.
        return ()


def _served(port: int, headers: Mapping[str, str]) -> Sequence[str]:
    """The graphs of the service. Empty if it does not tell."""
    info = _asked(port, "/agent/info", headers)
    graphs = None if isinstance(info, _NoAnswer) else info.body.get("graphs")
    names = [one.get("name") for one in graphs if isinstance(one, dict)] if isinstance(graphs, list) else []
    return [one_line(name)[:MOST_LETTERS] for name in names if isinstance(name, str)]


def _refuses_token(answer: _Answer) -> bool:
    error = answer.body.get("error")
    is_typed = isinstance(error, dict) and error.get("code") == Unauthenticated.code
    return answer.status == Unauthenticated.status and is_typed


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # The service binds with this option too: a port in TIME_WAIT after a restart counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _asked(port: int, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> _Answer | _NoAnswer:
    """What a server on this machine answers, if that is a JSON object."""
    try:
        # `trust_env=False` ignores the environment's proxy, which cannot reach this machine's loopback address.
        with (
            httpx.Client(trust_env=False, timeout=ANSWER_SECONDS, headers=dict(headers)) as client,
            client.stream("GET", f"http://127.0.0.1:{port}{path}") as answer,
        ):
            body = json.loads(_whole(answer))
    except httpx.TimeoutException:
        return _NoAnswer.SILENT
    except (httpx.HTTPError, ValueError, RecursionError):
        return _NoAnswer.OTHER
    return _Answer(answer.status_code, body) if isinstance(body, dict) else _NoAnswer.OTHER


def _whole(answer: httpx.Response) -> bytes:
    """The body. Raises `ValueError` if it has no end: httpx's limit of time is for each read."""
    body, ends = bytearray(), time.monotonic() + ANSWER_SECONDS
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > MOST_BYTES or time.monotonic() > ends:
            raise ValueError("the answer is too long for a service")
    return bytes(body)

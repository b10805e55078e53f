"""What a start costs: CPU time until `/ready`, memory at rest, and the first answer compared with later ones.

The flagship is served with the variables of Databricks Apps, against a workspace whose model knows its answer.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.processes import ROOT, Server, Servers, cpu_seconds, free_port, memory_mb

READY_SECONDS = 180.0

QUIET_SECONDS = 3.0
"""A process that used no CPU time for so long is at rest."""

WARM_ANSWERS = 5

CONFIG = "graphs.json"


@dataclass(frozen=True, slots=True)
class Start:
    """The figures of one start."""

    name: str
    label: str
    answers_seconds: float
    """Until `/health` answers."""

    ready_cpu_seconds: float
    """CPU time of the process until `/ready` is 200."""

    idle_mb: float
    """Resident memory when the process has come to rest, before the first question."""

    first_cpu_seconds: float
    """CPU time that the process used until the end of the first answer."""

    first_seconds: float
    warm_cpu_seconds: float
    warm_seconds: float
    used_mb: float
    """Resident memory when the process has come to rest after these answers."""


def measure_starts(running: Servers) -> list[Start]:
    """Start each service once, and ask it. One at a time."""
    starts = []
    for tracing in ("off", "on"):
        environ = {"GRAPH_AGENT_TRACING": tracing, "GRAPH_AGENT_STORE": "memory"}
        config = ROOT / "bench" / "langgraph.json"
        label = f"a scripted graph, tracing {tracing}"
        starts.append(_start(running, f"scripted-{tracing}", label, config, environ, {}))
    # Late: it imports the local workspace.
    from bench.workspace import scripted_workspace

    with scripted_workspace(running.folder / "workspace") as workspace:
        config = running.folder / CONFIG
        config.write_text(f'{{"graphs": {{"assistant": "{ROOT}/graphs/assistant.py:graph"}}}}', encoding="utf-8")
        for tracing in ("off", "on"):
            environ = {**workspace, "GRAPH_AGENT_TRACING": tracing}
            label = f"the flagship on Apps, tracing {tracing}"
            user = {"x-forwarded-user": "ann", "x-forwarded-email": "ann@example.com"}
            starts.append(_start(running, f"flagship-{tracing}", label, config, environ, user))
    return starts


def starts_report(starts: Sequence[Start]) -> str:
    """Return a table in Markdown."""
    lines = [
        "| What is served | CPU to ready | Memory at rest | First answer | Later answers | Memory after them |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.label} | {one.ready_cpu_seconds:.1f} s | {one.idle_mb:.0f} MB | {one.first_seconds:.2f} s "
        f"| {one.warm_seconds:.2f} s | {one.used_mb:.0f} MB |"
        for one in starts
    ]
    return "\n".join(lines)


def starts_figures(starts: Sequence[Start]) -> list[dict[str, Any]]:
    """Return the figures for `--json`."""
    return [
        {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(one).items()}
        for one in starts
    ]


def _start(
    running: Servers, name: str, label: str, config: Path, environ: Mapping[str, str], headers: Mapping[str, str]
) -> Start:
    port = free_port()
    arguments = ["-m", "graph_agent", "serve", "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    server = running.start(f"start-{name}", arguments, port=port, environ={**environ, "DATABRICKS_APP_PORT": str(port)})
    answers = server.wait_until_it_answers(seconds=READY_SECONDS)
    address = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=address, headers=dict(headers), timeout=READY_SECONDS, trust_env=False) as client:
        ready = _ready(client, server)
        _rest(server)
        idle = memory_mb(server.pid)
        first = _asked(client, server)
        warm = [_asked(client, server) for _ in range(WARM_ANSWERS)]
        _rest(server)
        used = memory_mb(server.pid)
    server.process.terminate()
    server.process.wait(timeout=20)
    return Start(
        name=name,
        label=label,
        answers_seconds=answers,
        ready_cpu_seconds=ready,
        idle_mb=idle,
        first_seconds=first[0],
        first_cpu_seconds=first[1],
        warm_seconds=statistics.median(one[0] for one in warm),
        warm_cpu_seconds=statistics.median(one[1] for one in warm),
        used_mb=used,
    )


def _ready(client: httpx.Client, server: Server) -> float:
    ends = time.perf_counter() + READY_SECONDS
    while time.perf_counter() < ends:
        if client.get("/ready").status_code == 200:
            return cpu_seconds(server.pid)
        server.check()
        time.sleep(0.02)
    raise TimeoutError(f"not ready within {READY_SECONDS:.0f} s; {server.last_output()}")


def _rest(server: Server) -> None:
    """Wait until the process does nothing, for `READY_SECONDS` at most."""
    ends = time.perf_counter() + READY_SECONDS
    while time.perf_counter() < ends:
        before = cpu_seconds(server.pid)
        time.sleep(QUIET_SECONDS)
        if cpu_seconds(server.pid) - before < 0.1 * QUIET_SECONDS:
            return


def _asked(client: httpx.Client, server: Server) -> tuple[float, float]:
    """Seconds, and CPU time of the process, of one whole answer."""
    cpu, began = cpu_seconds(server.pid), time.perf_counter()
    client.post("/invocations", json={"input": "What color is dark mode?"}).raise_for_status()
    return time.perf_counter() - began, cpu_seconds(server.pid) - cpu

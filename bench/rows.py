"""The rows of the table: which servers, how each is started, and how its tokens look."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.processes import ROOT

FLOOR = "floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One server of the comparison."""

    name: str
    label: str
    arguments: tuple[str, ...]
    """Behind `python`; `--port PORT` is added."""

    path: str
    """Where it takes requests."""

    token: bytes
    """What stands once in each token's frame."""

    environ: Mapping[str, str] = field(default_factory=dict)
    traces: bool = False
    """Whether it exports to the tracking server."""


DELTA = b'{"delta":'
OUTPUT_TEXT_DELTA = b'"response.output_text.delta"'
SERVE = ("-m", "graph_agent", "serve", "--config", str(ROOT / "bench" / "langgraph.json"))

ROWS = (
    Row(
        name="starlette",
        label="Starlette SSE, no graph",
        arguments=("-m", "bench.servers.bare"),
        path="/stream",
        token=DELTA,
    ),
    Row(
        name=FLOOR,
        label="LangGraph on Starlette (the floor)",
        arguments=("-m", "bench.servers.floor"),
        path="/stream",
        token=DELTA,
    ),
    Row(
        # AgentServer records a span per request with or without autolog.
        name="agentserver",
        label="MLflow AgentServer, autolog off",
        arguments=("-m", "bench.servers.agent_server"),
        path="/responses",
        token=OUTPUT_TEXT_DELTA,
        traces=True,
    ),
    Row(
        name="agentserver-autolog",
        label="MLflow AgentServer, autolog on",
        arguments=("-m", "bench.servers.agent_server"),
        path="/responses",
        token=OUTPUT_TEXT_DELTA,
        environ={"BENCH_AUTOLOG": "1"},
        traces=True,
    ),
    Row(
        name="graph-agent",
        label="graph-agent, tracing off",
        arguments=SERVE,
        path="/responses",
        token=OUTPUT_TEXT_DELTA,
        environ={"GRAPH_AGENT_TRACING": "off"},
    ),
    Row(
        name="graph-agent-traced",
        label="graph-agent, tracing on",
        arguments=SERVE,
        path="/responses",
        token=OUTPUT_TEXT_DELTA,
        environ={"GRAPH_AGENT_TRACING": "on"},
        traces=True,
    ),
)

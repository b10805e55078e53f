"""The rows of the table: the servers, how each is started, and how it marks tokens."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.client import QUESTION, TOKENS
from bench.processes import ROOT

FLOOR = "floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One server of the comparison."""

    name: str
    label: str
    arguments: tuple[str, ...]
    """The arguments of `python`. `--port PORT` is added."""

    path: str
    """The path for requests."""

    token: bytes
    """Bytes that occur once in the frame of each token."""

    environ: Mapping[str, str] = field(default_factory=dict)
    """More variables. `{folder}` in a value is a folder that is removed with the benchmark, and `{postgres}` the URL of
    a PostgreSQL database."""

    traces: bool = False
    """Whether it exports traces to the tracking server."""

    @property
    def needs_postgres(self) -> bool:
        """Whether it needs a PostgreSQL database."""
        return "{postgres}" in self.environ.values()

    socket: bool = False
    """Whether it is asked over a WebSocket."""

    stores: bool = False
    """Whether each turn is stored, in a conversation of its own."""

    environment: str | None = None
    """The folder of an environment in the checkout whose Python runs it. `None`: that of the benchmark."""

    made_by: str = ""
    """The command that makes that folder."""

    body: bytes | None = None
    """What is posted, if that is not a request of the Responses API."""

    tokens: int = TOKENS
    """How often `token` is in a complete stream."""

    separator: bytes = b"\n\n"
    """What ends a frame."""

    @property
    def python(self) -> Path:
        """The interpreter that runs it."""
        return Path(sys.executable) if self.environment is None else ROOT / self.environment / "bin" / "python"

    @property
    def missing(self) -> str | None:
        """Why it cannot run here, or `None`."""
        if self.python.exists():
            return None
        return f"there is no {self.environment}; make it with `{self.made_by}`"


DELTA = b'{"delta":'
OUTPUT_TEXT_DELTA = b'"response.output_text.delta"'
STORE = "GRAPH_AGENT_STORE"
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
        # AgentServer records one span for each request, with or without autolog.
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
        environ={"GRAPH_AGENT_TRACING": "off", STORE: "memory"},
    ),
    Row(
        name="graph-agent-traced",
        label="graph-agent, tracing on",
        arguments=SERVE,
        path="/responses",
        token=OUTPUT_TEXT_DELTA,
        environ={"GRAPH_AGENT_TRACING": "on", STORE: "memory"},
        traces=True,
    ),
    *(
        Row(
            name=f"graph-agent-{name}",
            label=f"graph-agent, turns stored in {label}",
            arguments=SERVE,
            path="/responses",
            token=OUTPUT_TEXT_DELTA,
            environ={"GRAPH_AGENT_TRACING": "off", STORE: store},
            stores=True,
        )
        for name, label, store in (
            ("memory", "memory", "memory"),
            ("sqlite", "SQLite", "sqlite:{folder}/conversations.sqlite"),
            ("postgres", "PostgreSQL", "{postgres}"),
        )
    ),
    Row(
        name="graph-agent-websocket",
        label="graph-agent over WebSocket, turns stored in memory",
        arguments=SERVE,
        path="/v1/responses",
        token=OUTPUT_TEXT_DELTA,
        environ={"GRAPH_AGENT_TRACING": "off", STORE: "memory"},
        socket=True,
        stores=True,
    ),
    Row(
        # Its runs have no thread, so nothing of them stays.
        name="langgraph-dev",
        label="LangGraph's own server (langgraph dev)",
        arguments=("-m", "bench.servers.langgraph_dev"),
        path="/runs/stream",
        # In the frames of the stream. The last token has another text.
        token=b'data: [{"content":"word',
        tokens=TOKENS - 1,
        separator=b"\r\n\r\n",
        body=json.dumps(
            {
                "assistant_id": "scripted",
                "input": {"messages": QUESTION["input"]},
                "stream_mode": ["messages-tuple", "updates"],
                "stream_subgraphs": True,
            }
        ).encode(),
        environ={"LANGGRAPH_NO_VERSION_CHECK": "true", "LANGSMITH_TRACING": "false"},
        environment=".venv-studio",
        made_by="make studio",
    ),
)

"""The rows of the table: the servers, how each is started, and how it marks tokens."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.client import NEW_ID, QUESTION, TOKENS
from bench.environments import make
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
    """The path for requests. `NEW_ID` in it is another id in each of them."""

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

    packages: tuple[str, ...] = ()
    """The packages of that folder, if the benchmark makes it itself."""

    least: int | None = None
    """The least streams of each connection, if a plan's are more than it needs."""

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

    def prepare(self) -> str | None:
        """Make its environment, if the benchmark does that. Return why it cannot run here, or `None`."""
        if self.environment is not None and self.packages:
            return make(ROOT / self.environment, self.packages, root=ROOT)
        if self.python.exists():
            return None
        return f"there is no {self.environment}; make it with `{self.made_by}`"


DELTA = b'{"delta":'
OUTPUT_TEXT_DELTA = b'"response.output_text.delta"'
STORE = "GRAPH_AGENT_STORE"
PLATFORM_BODY = json.dumps(
    {
        "assistant_id": "scripted",
        "input": {"messages": QUESTION["input"]},
        "stream_mode": ["messages-tuple", "updates"],
        "stream_subgraphs": True,
    }
).encode()
"""The same question to servers with the API of LangGraph's own."""

PLATFORM_TOKEN = b'data: [{"content":"word'
"""In the frames of their streams. The last token has another text."""

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
    *(
        Row(
            name=f"floor-{name}",
            label=f"the floor, with LangGraph's saver for {label}",
            arguments=("-m", "bench.servers.floor"),
            path="/stream",
            token=DELTA,
            environ={"BENCH_SAVER": place},
        )
        for name, label, place in (
            ("sqlite", "SQLite", "sqlite:{folder}/floor.sqlite"),
            ("postgres", "PostgreSQL", "{postgres}"),
        )
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
        token=PLATFORM_TOKEN,
        tokens=TOKENS - 1,
        separator=b"\r\n\r\n",
        body=PLATFORM_BODY,
        environ={"LANGGRAPH_NO_VERSION_CHECK": "true", "LANGSMITH_TRACING": "false"},
        environment=".venv-studio",
        made_by="make studio",
    ),
    Row(
        # It has no runs without a thread. It commits each event, as it always does.
        name="aegra",
        label="Aegra, in PostgreSQL",
        arguments=("-m", "bench.servers.aegra"),
        path=f"/threads/{NEW_ID}/runs/stream",
        token=PLATFORM_TOKEN,
        tokens=TOKENS - 1,
        # So that the other rows have their rounds. It takes many times as long, and exports no traces.
        least=1,
        body=PLATFORM_BODY,
        environ={"BENCH_DATABASE": "{postgres}"},
        environment=".venv-aegra",
        # It does not name the extra of SQLAlchemy that it needs.
        packages=("aegra-api==0.6.0", "sqlalchemy[asyncio]>=2,<3"),
    ),
)

"""Every environment variable of the service, as one typed, frozen value.

The field `max_runs` is the variable `GRAPH_AGENT_MAX_RUNS`. `docs/settings.md` lists the same names; a test compares
them.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

from graph_agent.errors import BadSetting
from graph_agent.trace_links import is_trace_template
from graph_agent.trusted_hosts import is_host_name, is_origin, server_address

PREFIX = "GRAPH_AGENT_"

NOT_A_USER = frozenset(
    {"authorization", "connection", "content-length", "content-type", "cookie", "host", "origin", "x-request-id"}
)
"""Headers that have another meaning, so that no front end names its user in them."""

_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")

MOST_SECONDS = 86_400
"""The upper limit of every setting that is a time. A longer time is a mistake, and an infinite one would never end."""

SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""The names of schemas that PostgreSQL takes as they are."""

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")

MOST_PAGE_TEXT: Mapping[str, int] = {"page_title": 100, "page_greeting": 1000, "page_disclaimer": 1000}
"""Characters of the texts of the chat page."""

MOST_LIMIT = 10**15
"""The upper limit of a limit for people. A store counts in 64 bits."""

LEAST_KEY, MOST_KEYS = 32, 2
"""The characters of a key that seals, and how many there may be at a time: the new one and the one before it."""

MOST_DAYS = 36_500
"""The upper limit of a time in days: a hundred years."""


def default_cache_dir(environ: Mapping[str, str]) -> Path:
    """The user's cache folder for this project: `$XDG_CACHE_HOME/graph-agent`, or `~/.cache/graph-agent`."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "graph-agent"


def project_digest(folder: Path) -> str:
    """Names a project in the cache folder. `folder` is the one of its `langgraph.json`."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What one run may use before it ends as `response.incomplete`. All budgets count per request."""

    steps: int = 40
    """Super-steps of the graph. A planner turn and the tools it calls are two."""

    tool_calls: int = 24
    """Tool and retriever calls of the graph."""

    seconds: float = 240.0
    """Wall-clock time. The Apps proxy has been observed to cut streams at 300 s, so stay below that."""

    output_tokens: int = 8192
    """Tokens written by all model calls of the run together."""

    event_bytes: int = 16_777_216
    """Bytes of events. They stay in memory until the last reader has read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one user, and all users together, may ask for in a minute and in a day (UTC). `None`: no limit."""

    user_requests_per_minute: int | None = None
    user_requests_per_day: int | None = None
    user_tokens_per_day: int | None = None
    """Tokens that models read and write for one user."""

    user_extra_tokens: int | None = None
    """Tokens by which a user may raise the own limit of a day, each time that a run asks. `None`: no run asks."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None

    @property
    def of_requests(self) -> bool:
        """Whether requests are counted."""
        per_user = self.user_requests_per_minute or self.user_requests_per_day
        return bool(per_user or self.requests_per_minute or self.requests_per_day)

    @property
    def of_tokens(self) -> bool:
        """Whether tokens are counted."""
        return bool(self.user_tokens_per_day or self.tokens_per_day)


NO_LIMITS = Limits()

LIMIT_PREFIX = "limit_"
"""The fields of `Limits` are settings with this in front."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of one app. `Settings.from_environment()` reads it; tests and hosts construct it."""

    config: Path = Path("langgraph.json")
    """The list of graphs. LangGraph Studio reads the same file."""

    default_graph: str | None = None
    """The graph that answers when a request names none. Unset: the first graph of the list."""

    fallback_graph: str | None = None
    """The graph that answers on `/v1` when `model` is not the name of a graph. Unset: the answer is 404. At the
    Databricks addresses the default graph answers, whatever the name."""

    host: str = "127.0.0.1"
    """The address to bind."""

    allowed_hosts: str = ""
    """Host names, besides those of loopback, under which a service without a token may be used, separated by commas."""

    cors_origins: str = ""
    """The sites whose pages may use the service from a browser (CORS), such as `https://app.example.com`, separated by
    commas. Empty: none but its own."""

    client_mcp_servers: str = ""
    """The addresses of the MCP servers that a request may name in `tools`, such as `https://mcp.example.com/mcp`,
    separated by commas. Empty: none."""

    port: int = 8000
    """The port to bind. On Databricks Apps, `DATABRICKS_APP_PORT` wins."""

    model: str | None = None
    """The planner's chat model, as `provider:name`; `databricks:` is a serving endpoint. Unset: `local-model` in the
    local workspace, and an error elsewhere."""

    index: str = "main.docs.project"
    """The Vector Search index of the flagship graph, as `catalog.schema.index`."""

    history_tokens: int = 0
    """How many tokens of a conversation a model sees, about; its newest turns count. 0: as many as it can read."""

    min_score: float = 0.0
    """Passages with a lower score are not shown to the model; 0 keeps all. The scores come from the index."""

    silence_seconds: float = 120.0
    """The longest silence of a model endpoint during a call: before its answer begins, and between two chunks."""

    request_seconds: float = 120.0
    """The longest total time of one search in an index, or of one call to a tool's server."""

    model_seconds: float = 180.0
    """The longest time of one model call, including retries."""

    max_body_bytes: int = 8_388_608
    """The largest request body, in bytes. An image of 5 MB is 7 MB in JSON."""

    max_runs: int = 32
    """The most active runs. The next request is answered 429."""

    max_connections: int = 1000
    """The most open connections. The next one is answered 503 and closed."""

    max_sockets: int = 256
    """The most open WebSockets. The next handshake is answered 429."""

    socket_seconds: float = 3600.0
    """How long a WebSocket may be open. A response in flight is told to its end."""

    socket_idle_seconds: float = 900.0
    """How long a WebSocket may be open without a message of its client, while none is answered."""

    socket_memory_bytes: int = 16_777_216
    """How many bytes of conversations with `store: false` one WebSocket remembers. All together remember at most 16
    times that."""

    read_seconds: float = 30.0
    """How long a client may take to send the headers of a request, and its body. A body gets one second more for each
    64 KiB that arrived."""

    write_seconds: float = 30.0
    """How long a client may read nothing while data waits for it. Then it is disconnected."""

    grace_seconds: float | None = None
    """How long a run continues after the last reader of its stream has left. 0 cancels it immediately. Unset: 20 if the
    response is stored, so that a client can come back, and 0 otherwise."""

    max_background_runs: int = 8
    """The most active background runs of one process. Further ones wait in the queue."""

    max_background_runs_per_owner: int = 4
    """The most active background runs of one owner, over all processes."""

    max_background_runs_in_all: int = 64
    """The most active background runs of all processes that share the store."""

    max_queued_runs: int = 1000
    """The most background runs that wait in the queue. The next request is answered 429."""

    background_seconds: float = 3600.0
    """Budget of one background run: seconds of wall-clock time, from its first start on."""

    schedules: Path | None = None
    """The file of schedules, whose runs `graph-agent serve` starts. Unset: `schedules.toml` beside the list of graphs,
    if it is there."""

    webhooks: Path | None = None
    """The file of webhooks, which are sent when background runs end. Unset: `webhooks.toml` beside the list of graphs,
    if it is there."""

    event_log_seconds: float = 3600.0
    """How long the events of a run can be read after its end. Later a stream cannot be joined any more."""

    max_steps: int = 40
    """Budget of one run: super-steps."""

    max_tool_calls: int = 24
    """Budget of one run: tool and retriever calls."""

    max_seconds: float = 240.0
    """Budget of one run: seconds of wall-clock time."""

    max_output_tokens: int = 8192
    """Budget of one run: tokens written by its models."""

    max_event_bytes: int = 16_777_216
    """Budget of one run: bytes of its events, which stay in memory until they are read."""

    limit_user_requests_per_minute: int | None = None
    """The most requests of one user that start a run in a minute. Unset: no limit."""

    limit_user_requests_per_day: int | None = None
    """The most requests of one user that start a run in a day (UTC). Unset: no limit."""

    limit_user_tokens_per_day: int | None = None
    """The most tokens that models read and write for one user in a day (UTC). Unset: no limit."""

    limit_user_extra_tokens: int | None = None
    """At the daily limit of its user, a stored run asks whether to go on. Each approval adds so many tokens for that
    day. Unset: it fails instead."""

    limit_requests_per_minute: int | None = None
    """The most requests of all users that start a run in a minute. Unset: no limit."""

    limit_requests_per_day: int | None = None
    """The most requests of all users that start a run in a day (UTC). Unset: no limit."""

    limit_tokens_per_day: int | None = None
    """The most tokens that models read and write for all users in a day (UTC). Unset: no limit."""

    usage_days: int = 400
    """How many days the store keeps who used how many tokens. 0: it keeps no such table."""

    operators: str = ""
    """The users who may see what all use, at `/usage` and on the chat page, by id or e-mail, separated by commas.
    Empty: everybody sees only the own usage there."""

    reply_seconds: float | None = None
    """The longest time from a request without `stream` to the end of its run, which then ends incomplete. Unset: 110 on
    Databricks Apps, whose proxy gives up at 120 s, and no limit elsewhere."""

    keepalive_seconds: float = 10.0
    """A stream that was quiet for this long gets a comment, so that proxies keep it open."""

    startup_wait_seconds: float = 60.0
    """How long a request waits while graphs are loading. Then it is answered 503."""

    local_user: str = "local"
    """The caller when the service does not run behind the proxy of Databricks Apps."""

    authorization: Literal["app", "user", "user-required"] = "app"
    """The permissions for calls to Databricks: the app's, the calling user's, or the user's with requests refused that
    carry no user token."""

    bearer_token: str | None = field(default=None, repr=False)
    """The token that requests must carry, for hosting outside Databricks Apps. Unset: no token is required."""

    user_header: str | None = None
    """The header in which a trusted front end sends its user. Requires `bearer_token`, which only that front end may
    have. Unset: every caller is `local_user`."""

    log_format: Literal["json", "text"] = "json"
    """JSON lines, or text for people. `graph-agent dev` writes text."""

    metrics: Literal["auto", "on", "off"] = "auto"
    """The metrics for Prometheus at `/metrics`. `auto` serves them on loopback only. `on` serves them elsewhere too,
    which requires `bearer_token` outside Databricks Apps."""

    tracing: Literal["on", "off"] = "on"
    """MLflow traces of every run."""

    tracking_uri: str | None = None
    """Where traces go. Unset: the standard `MLFLOW_TRACKING_URI`, or else a SQLite file in the cache folder."""

    experiment: str = "graph-agent"
    """The name of the MLflow experiment. The standard `MLFLOW_EXPERIMENT_ID` wins if it is set."""

    trace_url: str | None = None
    """The address of a trace for people, with `{trace_id}` or `{response_id}`. Unset: answers have no link to it."""

    version: str | None = None
    """The version of the code in traces: any text, or `[BRANCH@]COMMIT[-dirty]`. Unset: read from git."""

    store: str | None = field(default=None, repr=False)
    """Where responses and conversations are kept: `memory`, `sqlite:PATH`, `postgresql://…`, or the path of a Lakebase
    endpoint, `projects/…/endpoints/…`. Unset: a SQLite file in the cache folder."""

    store_schema: str = "graph_agent"
    """The schema of a PostgreSQL or Lakebase store. Each app that shares a database needs its own."""

    compaction_keys: str | None = field(default=None, repr=False)
    """One or two secrets of at least 32 characters, separated by a comma, that seal compacted histories. The first one
    seals, and both open. Unset: the store keeps a key."""

    retention_days: float = 0.0
    """Conversations without a new response for so many days are deleted. 0 keeps them."""

    busy: Literal["reject", "wait"] = "reject"
    """What happens to a request whose conversation already has a run in progress: it is answered 409, or it waits for
    its turn, at most as long as a run may take."""

    embeddings: str | None = None
    """The endpoint that makes memories found by their meaning, as `databricks:ENDPOINT`. Unset: that of the local
    workspace, and elsewhere memories are found by their words."""

    max_memories: int = 10_000
    """The most memories of one owner. To save more is an error that the model reads."""

    unanswered: Literal["restate", "reject"] = "restate"
    """What a message does while the graph waits for a person's decision: the questions are asked again and nothing
    runs, or the message counts as a rejection, after which it runs."""

    client_tools: Literal["refuse", "ignore"] = "refuse"
    """What a request with tools of the client gets from a graph that takes none: an error, or the answer of the graph,
    which then warns that the tools were left out."""

    chat_reasoning: Literal["asked", "always"] = "asked"
    """Whether chat completions have the reasoning of the models: if the request sets `reasoning_effort`, or always."""

    reload: Literal["on", "off"] = "off"
    """Load edited graph files on the next request. `graph-agent dev` turns it on."""

    page: Literal["on", "off"] = "on"
    """The chat page at `/`."""

    page_title: str | None = None
    """The title of the chat page. Unset: the name of the app on Databricks Apps, and `graph-agent` elsewhere."""

    page_logo: Path | None = None
    """The logo of the chat page: an SVG or PNG file of at most 256 KiB."""

    page_color: str | None = None
    """The accent color of the chat page, as `#rrggbb`. Unset: the page's own."""

    page_color_dark: str | None = None
    """The accent color on dark background, as `#rrggbb`. Unset: `page_color`."""

    page_greeting: str | None = None
    """What the chat page says before the first message."""

    page_disclaimer: str | None = None
    """What the chat page says below the input, such as that answers may be wrong."""

    docs: Literal["on", "off"] = "on"
    """The documentation at `/docs`, where it is built."""

    mcp: Literal["on", "off"] = "on"
    """The graphs as tools of an MCP server, at `/mcp`."""

    cache_dir: Path = field(default_factory=lambda: default_cache_dir(os.environ))
    """The folder for downloaded weights, the local index, local traces and, by default, conversations."""

    local_model: str = "qwen-1.5b"
    """The local model: the name of known weights, a path to a GGUF file, or an OpenAI-compatible base URL."""

    local_model_name: str = "local-model"
    """The name of the model at that base URL, if `local_model` is one."""

    local_api_key: str | None = None
    """The key for that base URL, if it requires one."""

    hub_url: str = "https://huggingface.co"
    """The model hub that is tried first for local weights. Empty skips it."""

    workspace_port: int = 8765
    """The port of the local workspace on loopback."""

    @property
    def host_names(self) -> frozenset[str]:
        """The names in `allowed_hosts`, in lower case."""
        return frozenset(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())

    @property
    def page_origins(self) -> frozenset[str]:
        """The origins in `cors_origins`, in lower case."""
        return frozenset(origin.strip().lower() for origin in self.cors_origins.split(",") if origin.strip())

    @property
    def client_mcp_addresses(self) -> tuple[str, ...]:
        """The addresses in `client_mcp_servers`, as `server_address` writes them."""
        named = (one.strip() for one in self.client_mcp_servers.split(",") if one.strip())
        return tuple(dict.fromkeys(filter(None, map(server_address, named))))

    @property
    def compaction_secrets(self) -> tuple[str, ...]:
        """The secrets in `compaction_keys`, the one that seals first."""
        return tuple(one.strip() for one in (self.compaction_keys or "").split(",") if one.strip())

    @property
    def budgets(self) -> Budgets:
        """The budgets of a run as one value."""
        return Budgets(
            steps=self.max_steps,
            tool_calls=self.max_tool_calls,
            seconds=self.max_seconds,
            output_tokens=self.max_output_tokens,
            event_bytes=self.max_event_bytes,
        )

    @property
    def operator_names(self) -> frozenset[str]:
        """The names in `operators`, in lower case."""
        return frozenset(name.strip().lower() for name in self.operators.split(",") if name.strip())

    @property
    def limits(self) -> Limits:
        """The limits for people as one value."""
        return Limits(**{one.name: getattr(self, f"{LIMIT_PREFIX}{one.name}") for one in fields(Limits)})

    def __post_init__(self) -> None:
        # Code often passes a path as a string.
        for name in ("config", "cache_dir", "schedules", "webhooks", "page_logo"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        for name in (
            "max_runs",
            "max_background_runs",
            "max_background_runs_per_owner",
            "max_background_runs_in_all",
            "max_queued_runs",
            "max_connections",
            "max_sockets",
            "socket_memory_bytes",
            "max_steps",
            "max_tool_calls",
            "max_output_tokens",
            "max_event_bytes",
            "max_body_bytes",
            "max_memories",
        ):
            if getattr(self, name) < 1:
                raise BadSetting(f"{PREFIX}{name.upper()} must be at least 1", param=f"{PREFIX}{name.upper()}")
        # By the end of the name, so that a new setting that is a time is checked too.
        for one in fields(self):
            seconds = getattr(self, one.name)
            if not one.name.endswith("_seconds") or seconds is None:
                continue
            name, may_be_none = f"{PREFIX}{one.name.upper()}", one.name == "grace_seconds"
            if not (0 < seconds <= MOST_SECONDS or (may_be_none and seconds == 0)):
                least = "at least 0" if may_be_none else "above 0"
                raise BadSetting(f"{name} must be {least} and at most {MOST_SECONDS} (a day)", param=name)
        if not all(map(is_host_name, self.host_names)):
            expected = "host names separated by commas, such as agent.example.com, without scheme, port and path"
            raise BadSetting(f"{PREFIX}ALLOWED_HOSTS must be {expected}", param=f"{PREFIX}ALLOWED_HOSTS")
        if not all(map(is_origin, self.page_origins)):
            expected = (
                "origins as a browser sends them, separated by commas, such as https://app.example.com: without path, "
                "default port and wildcard"
            )
            raise BadSetting(f"{PREFIX}CORS_ORIGINS must be {expected}", param=f"{PREFIX}CORS_ORIGINS")
        if not all(server_address(one.strip()) for one in self.client_mcp_servers.split(",") if one.strip()):
            expected = (
                "addresses of MCP servers separated by commas, such as https://mcp.example.com/mcp: https unless the "
                "host is loopback, and without user, query, fragment and wildcard"
            )
            raise BadSetting(f"{PREFIX}CLIENT_MCP_SERVERS must be {expected}", param=f"{PREFIX}CLIENT_MCP_SERVERS")
        if not 0 <= self.retention_days <= MOST_DAYS:
            message = f"{PREFIX}RETENTION_DAYS must be at least 0 and at most {MOST_DAYS}"
            raise BadSetting(message, param=f"{PREFIX}RETENTION_DAYS")
        if not 0 <= self.usage_days <= MOST_DAYS:
            message = f"{PREFIX}USAGE_DAYS must be at least 0 and at most {MOST_DAYS}"
            raise BadSetting(message, param=f"{PREFIX}USAGE_DAYS")
        self._check_limits()
        keys = self.compaction_secrets
        if len(keys) > MOST_KEYS or any(len(one) < LEAST_KEY for one in keys):
            expected = f"one or two secrets of at least {LEAST_KEY} characters, separated by a comma"
            message = f"{PREFIX}COMPACTION_KEYS must be {expected}; `openssl rand -hex 32` makes one"
            raise BadSetting(message, param=f"{PREFIX}COMPACTION_KEYS")
        self._check_user_header()
        self._check_page()
        if self.trace_url is not None and not is_trace_template(self.trace_url):
            name = f"{PREFIX}TRACE_URL"
            expected = "an http or https address with {trace_id} or {response_id} behind its host, and no other {…}"
            raise BadSetting(f"{name} must be {expected}", param=name)
        if not SCHEMA.fullmatch(self.store_schema) or self.store_schema.startswith("pg_"):
            expected = "at most 63 lowercase letters, digits and underscores, and not begin with a digit or pg_"
            raise BadSetting(f"{PREFIX}STORE_SCHEMA must be {expected}", param=f"{PREFIX}STORE_SCHEMA")
        if self.history_tokens < 0:
            raise BadSetting(f"{PREFIX}HISTORY_TOKENS must be at least 0", param=f"{PREFIX}HISTORY_TOKENS")
        if not 0 <= self.min_score <= 1:
            raise BadSetting(f"{PREFIX}MIN_SCORE must be from 0 to 1", param=f"{PREFIX}MIN_SCORE")
        for name in ("port", "workspace_port"):
            if not 0 <= getattr(self, name) <= 65535:
                message = f"{PREFIX}{name.upper()} must be a port number from 0 to 65535"
                raise BadSetting(message, param=f"{PREFIX}{name.upper()}")

    def _check_limits(self) -> None:
        for one in fields(Limits):
            value, name = getattr(self.limits, one.name), f"{PREFIX}{LIMIT_PREFIX}{one.name}".upper()
            if value is not None and not 1 <= value <= MOST_LIMIT:
                raise BadSetting(f"{name} must be at least 1 and at most {MOST_LIMIT}", param=name)
            if value is not None and one.name.endswith("tokens_per_day") and value <= self.max_output_tokens:
                raise BadSetting(
                    f"{name} must be above {PREFIX}MAX_OUTPUT_TOKENS ({self.max_output_tokens}): a model call reserves "
                    "that many tokens for its answer, so that none would ever begin. Raise the one or lower the other",
                    param=name,
                )
        if self.limits.user_extra_tokens is not None and self.limits.user_tokens_per_day is None:
            name = f"{PREFIX}{LIMIT_PREFIX}user_extra_tokens".upper()
            raise BadSetting(f"{name} needs {PREFIX}LIMIT_USER_TOKENS_PER_DAY, which it adds to", param=name)

    def _check_page(self) -> None:
        for name in ("page_color", "page_color_dark"):
            color = getattr(self, name)
            if color is not None and not _COLOR.fullmatch(color):
                variable = f"{PREFIX}{name.upper()}"
                raise BadSetting(f"{variable} must be a color such as #1a73e8", param=variable)
        for name, most in MOST_PAGE_TEXT.items():
            if len(getattr(self, name) or "") > most:
                variable = f"{PREFIX}{name.upper()}"
                raise BadSetting(f"{variable} must be a text of at most {most} characters", param=variable)

    def _check_user_header(self) -> None:
        name = f"{PREFIX}USER_HEADER"
        if self.user_header is None:
            return
        if not _HEADER.fullmatch(self.user_header) or self.user_header.lower() in NOT_A_USER:
            raise BadSetting(f"{name} must be the name of a header, such as X-OpenWebUI-User-Id", param=name)
        if self.bearer_token is None:
            # Otherwise anyone who reaches the service could choose whose conversations to read.
            raise BadSetting(f"{name} requires {PREFIX}BEARER_TOKEN, which only the front end may have", param=name)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Read `GRAPH_AGENT_*` and what the platform sets. `overrides` (command-line flags) win unless they are `None`.

        Raises:
            BadSetting: a value has the wrong type, or a variable with our prefix is not a setting (a misspelling).
        """
        environ = os.environ if environ is None else environ
        known = {f"{PREFIX}{f.name.upper()}": f for f in fields(cls)}
        unknown = sorted(key for key in environ if key.startswith(PREFIX) and key not in known)
        if unknown:
            near = get_close_matches(unknown[0], known, n=3, cutoff=0.5)
            meant = f"did you mean {' or '.join(near)}?" if near else "unset it"
            raise BadSetting(f"no such setting: {', '.join(unknown)}; {meant}", param=unknown[0])
        # An empty variable counts as unset. `GRAPH_AGENT_HUB_URL` is the exception: empty turns the hub off.
        given = {key for key in known if environ.get(key) or (key == f"{PREFIX}HUB_URL" and key in environ)}
        values = {f.name: _parse(key, f.type, environ[key]) for key, f in known.items() if key in given}
        if "cache_dir" not in values:
            values["cache_dir"] = default_cache_dir(environ)
        if environ.get("DATABRICKS_APP_PORT"):
            # The Apps proxy connects from outside of the container, to the port that the platform chose.
            values["port"] = _parse("DATABRICKS_APP_PORT", int, environ["DATABRICKS_APP_PORT"])
            values.setdefault("host", "0.0.0.0")
        return cls(**values | {key: value for key, value in overrides.items() if value is not None})


def _parse(name: str, kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise BadSetting(f"{name} must be one of {', '.join(get_args(kind))}", param=name)
        return text
    # Of `int | None`, the type that is not None.
    kind = next((one for one in get_args(kind) if one is not type(None)), kind)
    if kind not in (int, float, Path):
        return text
    try:
        return kind(text)
    except ValueError:
        # The message never quotes the value: a secret may have ended up in the wrong variable.
        raise BadSetting(f"{name} must be a {'whole number' if kind is int else 'number'}", param=name) from None


def as_environment(settings: Settings) -> dict[str, str]:
    """The environment variables with which another process reads the same settings."""
    return {
        f"{PREFIX}{f.name.upper()}": value if isinstance(value, str) else str(value)
        for f in fields(settings)
        if (value := getattr(settings, f.name)) is not None
    }

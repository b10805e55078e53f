"""Every environment variable of the service, read once into one typed, frozen value.

A field `max_runs` is the variable `GRAPH_AGENT_MAX_RUNS`. `docs/settings.md` lists the same names; a test says so.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

from graph_agent.errors import BadSetting
from graph_agent.trusted_hosts import is_host_name

PREFIX = "GRAPH_AGENT_"

MOST_SECONDS = 86_400
"""Of every setting that is a time: what is longer is a mistake, and endless is a wait that nothing ends."""


def default_cache_dir(environ: Mapping[str, str]) -> Path:
    """The user's cache folder for this project: `$XDG_CACHE_HOME/graph-agent`, or `~/.cache/graph-agent`."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "graph-agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What one run may use before it ends as `response.incomplete`. All are counted per request."""

    steps: int = 40
    """Super-steps of the graph: a planner turn and the tools it asked for are two."""

    tool_calls: int = 24
    """Tool and retriever calls the graph asks for."""

    seconds: float = 240.0
    """Wall-clock time. The Apps proxy has been seen to cut streams at 300 s; stay below it."""

    output_tokens: int = 8192
    """Tokens the models write, all model calls of the run together."""

    event_bytes: int = 16_777_216
    """Bytes of events, which are kept until the last reader has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. `Settings.from_environment()` reads it; tests construct it."""

    config: Path = Path("langgraph.json")
    """The list of graphs; LangGraph Studio reads the same file."""

    default_graph: str | None = None
    """The graph that answers when a request names none; the first of the list if unset."""

    fallback_graph: str | None = None
    """The graph that answers on `/v1` where `model` names none; unset: that is a 404. The Databricks addresses take any
    name for the default graph."""

    host: str = "127.0.0.1"
    """Address to bind."""

    allowed_hosts: str = ""
    """More names than loopback's under which a service that asks for no token may be used, separated by commas."""

    port: int = 8000
    """Port to bind; on Databricks Apps `DATABRICKS_APP_PORT` wins."""

    model: str | None = None
    """The planner's chat model, as `provider:name`; `databricks:` is a serving endpoint. Unset: `local-model` of the
    local workspace, and an error in any other."""

    index: str = "main.docs.project"
    """The Vector Search index the flagship graph retrieves from, as `catalog.schema.index`."""

    min_score: float = 0.0
    """Passages scored below this are not shown to the model; 0 keeps all. Scores are the index's own."""

    silence_seconds: float = 120.0
    """Longest silence of a model endpoint within a call: until its answer begins, and between two pieces of it."""

    request_seconds: float = 120.0
    """Longest time of one search in an index, or of one call of a tool's server, in all."""

    model_seconds: float = 180.0
    """Longest time of one model call, its retries included."""

    max_body_bytes: int = 8_388_608
    """Largest request body, bytes; an image of 5 MB is 7 MB in JSON."""

    max_runs: int = 32
    """Runs under way at once; the next one is answered 429."""

    max_connections: int = 1000
    """Connections at once; the next one is answered 503 and closed."""

    read_seconds: float = 30.0
    """How long a client may take to send a request's headers, and its body, which gets a second more for each 64 KiB
    that came."""

    write_seconds: float = 30.0
    """How long a client may take nothing of what waits for it before it is cut off."""

    grace_seconds: float = 0.0
    """How long a run goes on after the last reader of its stream has left; 0 cancels it immediately."""

    max_steps: int = 40
    """Budget of one run: super-steps."""

    max_tool_calls: int = 24
    """Budget of one run: tool and retriever calls."""

    max_seconds: float = 240.0
    """Budget of one run: seconds of wall-clock time."""

    max_output_tokens: int = 8192
    """Budget of one run: tokens written by its models."""

    max_event_bytes: int = 16_777_216
    """Budget of one run: bytes of its events, which are kept in memory until they are read."""

    reply_seconds: float | None = None
    """Longest time from a request without `stream` to the end of its run, which then is incomplete; on Databricks Apps
    110, elsewhere no such limit. Its proxy gives up at 120 s."""

    keepalive_seconds: float = 10.0
    """A comment is sent on a stream that was quiet for this long, so that proxies keep it open."""

    startup_wait_seconds: float = 60.0
    """How long a request that arrives while graphs are loading waits before it is answered 503."""

    local_user: str = "local"
    """Who is calling when the service does not run behind the Databricks Apps proxy."""

    authorization: Literal["app", "user", "user-required"] = "app"
    """Whose permissions calls to Databricks use: the app's; the calling user's; or the user's, with requests that carry
    no user token refused at the door."""

    bearer_token: str | None = field(default=None, repr=False)
    """Requests must carry this token; for hosting outside Databricks Apps. Unset: no token is asked for."""

    log_format: Literal["json", "text"] = "json"
    """Logs as JSON lines or for people; `graph-agent dev` writes text."""

    tracing: Literal["on", "off"] = "on"
    """MLflow traces of every run."""

    tracking_uri: str | None = None
    """Where traces go; the standard `MLFLOW_TRACKING_URI` is used if unset, else a SQLite file in the cache folder."""

    experiment: str = "graph-agent"
    """MLflow experiment by name; the standard `MLFLOW_EXPERIMENT_ID` wins where it is set."""

    version: str | None = None
    """The code's version, as traces name it: any text, or `[BRANCH@]COMMIT[-dirty]`; what git says if unset."""

    reload: Literal["on", "off"] = "off"
    """Load edited graph files on the next request; `graph-agent dev` switches it on."""

    cache_dir: Path = field(default_factory=lambda: default_cache_dir(os.environ))
    """Downloaded weights, the local index and local traces."""

    local_model: str = "qwen-1.5b"
    """The local model: the name of known weights, a path to a GGUF file, or an OpenAI-compatible base URL."""

    local_model_name: str = "local-model"
    """The model's name at that base URL, where `local_model` is one."""

    local_api_key: str | None = None
    """The key for that base URL, where it wants one."""

    hub_url: str = "https://huggingface.co"
    """Model hub tried first for the local weights; empty skips it."""

    workspace_port: int = 8765
    """Port of the local workspace on loopback."""

    @property
    def host_names(self) -> frozenset[str]:
        """`allowed_hosts`, one by one, in lower case."""
        return frozenset(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())

    @property
    def budgets(self) -> Budgets:
        """The four budgets of a run as one value."""
        return Budgets(
            steps=self.max_steps,
            tool_calls=self.max_tool_calls,
            seconds=self.max_seconds,
            output_tokens=self.max_output_tokens,
            event_bytes=self.max_event_bytes,
        )

    def __post_init__(self) -> None:
        # In code a path is mostly written as a text.
        for name in ("config", "cache_dir"):
            object.__setattr__(self, name, Path(getattr(self, name)))
        for name in (
            "max_runs",
            "max_connections",
            "max_steps",
            "max_tool_calls",
            "max_output_tokens",
            "max_event_bytes",
            "max_body_bytes",
        ):
            if getattr(self, name) < 1:
                raise BadSetting(f"{PREFIX}{name.upper()} must be at least 1", param=f"{PREFIX}{name.upper()}")
        for one in fields(self):
            seconds = getattr(self, one.name)
            if not one.name.endswith("_seconds") or seconds is None:
                continue
            name, may_be_none = f"{PREFIX}{one.name.upper()}", one.name == "grace_seconds"
            if not (0 < seconds <= MOST_SECONDS or (may_be_none and seconds == 0)):
                least = "at least 0" if may_be_none else "above 0"
                raise BadSetting(f"{name} must be {least} and at most {MOST_SECONDS} (a day)", param=name)
        if not all(map(is_host_name, self.host_names)):
            wanted = "host names separated by commas, such as agent.example.com, without scheme, port and path"
            raise BadSetting(f"{PREFIX}ALLOWED_HOSTS must be {wanted}", param=f"{PREFIX}ALLOWED_HOSTS")
        if not 0 <= self.min_score <= 1:
            raise BadSetting(f"{PREFIX}MIN_SCORE must be from 0 to 1", param=f"{PREFIX}MIN_SCORE")
        for name in ("port", "workspace_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise BadSetting(f"{PREFIX}{name.upper()} must be a port, 0 to 65535", param=f"{PREFIX}{name.upper()}")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Read `GRAPH_AGENT_*` and what the platform sets; `overrides` (command-line flags) win when not None.

        Raises:
            BadSetting: a value has the wrong type, or a variable of our prefix is not a setting (a misspelling).
        """
        environ = os.environ if environ is None else environ
        known = {f"{PREFIX}{f.name.upper()}": f for f in fields(cls)}
        unknown = sorted(key for key in environ if key.startswith(PREFIX) and key not in known)
        if unknown:
            near = get_close_matches(unknown[0], known, n=3, cutoff=0.5)
            meant = f"did you mean {' or '.join(near)}?" if near else "unset it"
            raise BadSetting(f"no such setting: {', '.join(unknown)}; {meant}", param=unknown[0])
        # An empty variable is an unset one, but for the one setting that can be switched off that way.
        given = {key for key in known if environ.get(key) or (key == f"{PREFIX}HUB_URL" and key in environ)}
        values = {f.name: _parse(key, f.type, environ[key]) for key, f in known.items() if key in given}
        if "cache_dir" not in values:
            values["cache_dir"] = default_cache_dir(environ)
        if environ.get("DATABRICKS_APP_PORT"):
            # The Apps proxy connects from outside the container and decides the port.
            values["port"] = _parse("DATABRICKS_APP_PORT", int, environ["DATABRICKS_APP_PORT"])
            values.setdefault("host", "0.0.0.0")
        return cls(**values | {key: value for key, value in overrides.items() if value is not None})


def _parse(name: str, kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise BadSetting(f"{name} must be one of {', '.join(get_args(kind))}", param=name)
        return text
    kind = next((one for one in get_args(kind) if one is not type(None)), kind)
    if kind not in (int, float, Path):
        return text
    try:
        return kind(text)
    except ValueError:
        raise BadSetting(f"{name} must be a {'whole number' if kind is int else 'number'}", param=name) from None


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that make another process read the same settings."""
    return {
        f"{PREFIX}{f.name.upper()}": value if isinstance(value, str) else str(value)
        for f in fields(settings)
        if (value := getattr(settings, f.name)) is not None
    }

"""The agent to evaluate: the project's own, served in this process with some model, or a remote one."""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from graph_agent.catalog.manifest import read_manifest
from graph_agent.errors import AgentError
from graph_agent.evaluating.errors import AgentUnreachable, EvalError
from graph_agent.evaluating.process_environment import workspace_environment
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.runner import Agent
from graph_agent.evaluating.tracking import tracking_uri
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.settings import PREFIX, Settings
from graph_agent.testing import on_loopback

SCRIPTED, LOCAL, ELSEWHERE = "scripted", "local", "elsewhere"
START_SECONDS = 120
DECISIVE = ("index", "local_model", "min_score", "max_steps", "max_tool_calls", "max_seconds", "max_output_tokens")
"""Settings that answers depend on, in addition to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The agent to evaluate, as the command line names it."""

    project: Project = field(default_factory=Project)

    model: str = SCRIPTED
    """`scripted`, `local`, or a model such as `databricks:my-llm`. With `url` or `app` it only names the baseline."""

    graph: str | None = None
    """A graph of `manifest`. The default is the first one."""

    mutation: str | None = None
    """A graph of the project's mutants, evaluated in place of the graph that it was made from."""

    url: str | None = None
    app: str | None = None
    config: Path | None = None
    """A list of graphs to use instead of the project's."""

    traced: bool = False
    """Whether to write traces with the scripted model too."""

    stored: bool = False
    """Whether the service uses the store of the settings. The questions of an evaluation do not belong among the
    conversations of whoever runs it."""

    @property
    def manifest(self) -> Path:
        """The list of graphs to serve. For a mutation, it is the list of the project's mutants."""
        return self.config or (self.project.mutants if self.mutation else self.project.config)

    @property
    def asked(self) -> str | None:
        """The graph to ask."""
        return self.mutation or self.graph

    def answering(self) -> str | None:
        """The name of the graph that is asked, also where it is the default one. `None` for the default of a remote
        agent, which only that knows."""
        if self.asked is not None or not self.here:
            return self.asked
        settings = Settings.from_environment(None, config=self.manifest)
        return settings.default_graph or next((spec.name for spec in read_manifest(self.manifest)), None)

    @property
    def here(self) -> bool:
        """Whether the agent is served in this process."""
        return self.url is None and self.app is None

    @property
    def place(self) -> str:
        """Where the agent runs, for the records. Credentials in its address are left out."""
        return (self.url and _bare(self.url)) or (f"app {self.app}" if self.app else "in process")

    def version(self) -> str:
        """Return a digest of everything in the project that answers may depend on; `place` for a remote agent."""
        if not self.here:
            return self.place
        root, own = self.manifest.resolve().parent, self.project.root.resolve()
        folders = [root, own, root / "graphs", own / "graphs", own / "docs"]
        script = self.project.script if self.model == SCRIPTED else None
        folders += [script.parent] if script else []
        files = {path for folder in folders for path in folder.glob("*.*")}
        files |= {path for name in ("documents", "docs", "graphs") for path in (root / name).rglob("*.*")}
        here = Path(__file__).parent
        files |= {path for path in here.parent.rglob("*.py") if here not in path.parents}
        # Of this package only the modules that ask. Scoring and reporting do not change an answer.
        files |= {here / name for name in ("runner.py", "answer_stream.py")}
        digest = hashlib.sha256()
        for path in sorted(path.resolve() for path in files if path.suffix in (".py", ".md", ".json")):
            digest.update(path.name.encode() + path.read_bytes())
        settings = Settings.from_environment(None, config=self.manifest)
        digest.update(repr([getattr(settings, name) for name in DECISIVE]).encode())
        return digest.hexdigest()[:16]


@contextmanager
def opened(target: Target, *, port: int = 0) -> Iterator[Agent]:
    """Start the agent if it runs here, and yield it once it is ready. It stops when the block ends.

    Raises:
        AgentUnreachable: it did not become ready in time.
        EvalError: the port is in use.
        AgentError: the local workspace or the graphs did not start. The message says why.
    """
    if target.app is not None:
        from graph_agent.databricks.apps import app_url, oauth_headers
        from graph_agent.databricks.clients import workspace_client

        client = workspace_client()
        yield Agent(
            url=app_url(client, target.app),
            path="/api/responses",
            headers=oauth_headers(client),
            graph=target.asked,
        )
    elif target.url is not None:
        token = os.environ.get(f"{PREFIX}BEARER_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        yield Agent(url=target.url.rstrip("/"), headers=headers, graph=target.asked)
    else:
        with (
            workspace(target) as (settings, variables),
            workspace_environment(variables),
            _service(settings, port, stored=target.stored) as url,
        ):
            yield Agent(url=url, headers=_bearer(settings), graph=target.asked)


@contextmanager
def workspace(target: Target) -> Iterator[tuple[Settings, Mapping[str, str]]]:
    """Yield the settings of the service, and the `DATABRICKS_*` variables with which its clients find the model."""
    settings = Settings.from_environment(None, config=target.manifest, default_graph=target.asked)
    settings = replace(settings, tracking_uri=tracking_uri(settings))
    if target.model == SCRIPTED:
        from graph_agent.evaluating.scripted import scripted_workspace

        # Off by default, because importing MLflow takes longer than asking all rows.
        traced = target.traced or os.environ.get(f"{PREFIX}TRACING") == "on"
        settings = replace(settings, model="databricks:local-model", tracing="on" if traced else "off")
        # Mutants use the documents of the project too.
        with scripted_workspace(target.project, settings) as variables:
            yield settings, variables
    elif target.model == LOCAL:
        from graph_agent.local.workspace_process import LocalWorkspace, with_local_limits

        settings = replace(with_local_limits(settings, os.environ), model="databricks:local-model")
        # It indexes the documents in the folder of `config`. For mutants this must be the project's folder too.
        with LocalWorkspace(replace(settings, config=target.project.config)) as workspace:
            found: dict[str, str] = {}
            workspace.enter(found)
            workspace.wait()
            yield settings, found
    else:
        variables = {name: value for name, value in os.environ.items() if name.startswith("DATABRICKS_")}
        yield replace(settings, model=target.model), variables


@contextmanager
def _service(settings: Settings, port: int, *, stored: bool) -> Iterator[str]:
    from graph_agent.serving.app import create_app

    failures: list[AgentError] = []
    if not stored:
        settings = replace(settings, store="memory")
    app = create_app(settings, on_failed_start=failures.append)
    with ExitStack() as stack:
        try:
            url = stack.enter_context(on_loopback(app, port=port))
        except OSError as error:
            raise EvalError(
                f"cannot listen on 127.0.0.1 port {port}: {error.strerror}; stop the program that uses it, or choose "
                "another one with --port or GRAPH_AGENT_PORT"
            ) from None
        ends = time.monotonic() + START_SECONDS
        with httpx.Client(base_url=url, timeout=5.0, trust_env=False, headers=_bearer(settings)) as client:
            while not _ready(client):
                if failures:
                    raise failures[0]
                if time.monotonic() > ends:
                    raise AgentUnreachable(f"the graphs did not load within {START_SECONDS} s; see the log above")
                time.sleep(0.1)
        # Done before the first row. Otherwise the first rows would wait for this import, and their times include it.
        with IMPORT_LOCK:
            import databricks_langchain  # noqa: F401
        yield url


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/ready").status_code == 200
    except httpx.HTTPError:
        return False


def is_address(url: str) -> bool:
    """Return whether `url` is an HTTP address with a host."""
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return address.scheme in ("http", "https") and bool(address.host)


def _bare(url: str) -> str:
    """Return the address without user, password and query."""
    address = httpx.URL(url)
    return str(address.copy_with(username=None, password=None, query=None, fragment=None)).rstrip("/")


def _bearer(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.bearer_token}"} if settings.bearer_token else {}

"""What a workspace has that an agent could use: models, indexes, functions, Genie spaces, MCP servers, databases.

Each kind is listed in a thread of its own, so that one that is slow or forbidden does not hide the others. The lists
are read page by page with limits of their own, because the SDK's iterators would follow pages without an end.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graph_agent.databricks.clients import workspace_client
from graph_agent.errors import AgentError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

SECONDS = 30.0
"""How long all lists may take together."""

MOST_PAGES = 20
"""Pages of one list."""

MOST_ITEMS = 200
"""Items of one kind."""

MOST_WITHIN = 25
"""Schemas, endpoints or branches that are looked into for one kind."""

LONGEST = 300
"""Characters of a description."""

CHAT_TASKS = ("llm/v1/chat", "agent/v1/chat", "agent/v2/chat")
EMBEDDING_TASKS = ("llm/v1/embeddings",)

CATALOGS = "/api/2.1/unity-catalog"
POSTGRES = "/api/2.0/postgres"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that an agent could use."""

    name: str
    use: str
    """How a graph or a setting names it."""

    description: str = ""
    state: str = ""


@dataclass(slots=True)
class Listed:
    """All items of one kind that could be listed."""

    kind: str
    items: list[Item] = field(default_factory=list)
    problem: str = ""
    """Why nothing, or not everything, could be listed. Without text of the workspace."""

    incomplete: bool = False
    """Whether there may be more items than the limits allow."""

    skipped: int = 0
    """Places within that could not be read, such as schemas of other owners."""


def discover(catalog: str | None = None, schema: str | None = None, *, seconds: float = SECONDS) -> list[Listed]:
    """List every kind. `catalog` and `schema` are the ones in which functions are looked for.

    Raises:
        WorkspaceUnavailable: no workspace is configured, it cannot be reached, or it refuses the credentials.
    """
    client = workspace_client()
    ends = time.monotonic() + seconds
    kinds: Mapping[str, Callable[[_Reader], Iterator[Item]]] = {
        "models": _models,
        "embeddings": _embeddings,
        "indexes": _indexes,
        "functions": lambda reader: _functions(reader, catalog, schema),
        "genie spaces": _genie,
        "mcp servers in apps": _mcp_apps,
        "mcp servers behind connections": _mcp_connections,
        "lakebase endpoints": _lakebase_endpoints,
        "lakebase databases": _lakebase_databases,
    }
    readers = [(_Reader(client, ends, Listed(kind)), items) for kind, items in kinds.items()]
    threads = [
        # Daemons: a call that does not return must not keep the command from ending.
        threading.Thread(target=copy_context().run, args=(reader.read, items), daemon=True)
        for reader, items in readers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    return [reader.snapshot() for reader, _ in readers]


class _Reader:
    """Reads the lists of one kind, in a thread."""

    def __init__(self, client: "WorkspaceClient", ends: float, listed: Listed) -> None:
        self._client = client
        self._ends = ends
        self._listed = listed
        self._lock = threading.Lock()
        self._done = False

    def read(self, items: "Callable[[_Reader], Iterator[Item]]") -> None:
        """Collect the items until there are no more, or enough."""
        problem = ""
        try:
            for item in items(self):
                with self._lock:
                    if len(self._listed.items) >= MOST_ITEMS:
                        self._listed.incomplete = True
                        break
                    self._listed.items.append(item)
        except Exception as error:  # noqa: BLE001 - the SDK raises errors of many libraries; each is a line of the report
            problem = _why(error)
        with self._lock:
            self._listed.problem, self._done = problem, True

    def snapshot(self) -> Listed:
        """What has been found until now."""
        with self._lock:
            found = self._listed
            late = "" if self._done else "the workspace did not answer in time; try again"
            return Listed(found.kind, list(found.items), found.problem or late, found.incomplete, found.skipped)

    def pages(self, path: str, key: str, **query: Any) -> Iterator[Mapping[str, Any]]:
        """The entries of a list, from at most `MOST_PAGES` pages."""
        for _ in range(MOST_PAGES):
            if time.monotonic() >= self._ends:
                raise TimeoutError
            answer = self._client.api_client.do("GET", path, query=query)
            entries = answer.get(key) if isinstance(answer, dict) else None
            yield from (one for one in entries or () if isinstance(one, dict))
            token = answer.get("next_page_token") if isinstance(answer, dict) else None
            if not token:
                return
            query["page_token"] = token
        with self._lock:
            self._listed.incomplete = True

    def within(
        self, places: Sequence[Any], read: Callable[[Any], Iterator[Mapping[str, Any]]]
    ) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """The entries of each of these places. Those that cannot be read are counted and left out.

        Raises the error of the last place if none can be read.
        """
        failed: Exception | None = None
        readable = 0
        for place in places[:MOST_WITHIN]:
            try:
                for entry in read(place):
                    yield place, entry
                readable += 1
            except TimeoutError:
                raise
            except Exception as error:  # noqa: BLE001 - see `read`
                failed = error
                with self._lock:
                    self._listed.skipped += 1
        if len(places) > MOST_WITHIN:
            with self._lock:
                self._listed.incomplete = True
        if failed is not None and not readable:
            raise failed


def _why(error: Exception) -> str:
    from databricks.sdk.errors import NotFound, PermissionDenied, Unauthenticated

    match error:
        case AgentError():
            return error.message
        case TimeoutError():
            return "the workspace did not answer in time; try again"
        case PermissionDenied() | Unauthenticated():
            return "you may not list these; ask an admin of the workspace"
        case NotFound():
            return "this workspace does not have them"
    return f"they could not be listed ({type(error).__name__})"


def _text(entry: Mapping[str, Any], *keys: str) -> str:
    value = next((entry[key] for key in keys if isinstance(entry.get(key), str) and entry[key]), "")
    return str(value)[:LONGEST]


def _of_endpoints(reader: _Reader, tasks: Sequence[str], use: str) -> Iterator[Item]:
    for entry in reader.pages("/api/2.0/serving-endpoints", "endpoints"):
        if entry.get("task") in tasks and (name := _text(entry, "name")):
            state = entry.get("state")
            ready = state.get("ready") if isinstance(state, dict) else None
            yield Item(
                name, use.format(name), _text(entry, "description"), "" if ready in ("READY", None) else "not ready"
            )


def _models(reader: _Reader) -> Iterator[Item]:
    return _of_endpoints(reader, CHAT_TASKS, 'chat_model("databricks:{}")')


def _embeddings(reader: _Reader) -> Iterator[Item]:
    return _of_endpoints(reader, EMBEDDING_TASKS, "GRAPH_AGENT_EMBEDDINGS=databricks:{}")


def _indexes(reader: _Reader) -> Iterator[Item]:
    endpoints = [_text(one, "name") for one in reader.pages("/api/2.0/vector-search/endpoints", "endpoints")]

    def of(endpoint: str) -> Iterator[Mapping[str, Any]]:
        return reader.pages("/api/2.0/vector-search/indexes", "vector_indexes", endpoint_name=endpoint)

    for endpoint, entry in reader.within(endpoints, of):
        if name := _text(entry, "name"):
            yield Item(name, f'DocumentSearch(index="{name}")', f"at the endpoint {endpoint}")


def _functions(reader: _Reader, catalog: str | None, schema: str | None) -> Iterator[Item]:
    schemas = [(catalog, schema)] if catalog and schema else list(_schemas(reader, catalog))

    def of(place: tuple[str, str]) -> Iterator[Mapping[str, Any]]:
        return reader.pages(f"{CATALOGS}/functions", "functions", catalog_name=place[0], schema_name=place[1])

    for _, entry in reader.within(schemas, of):
        if name := _text(entry, "full_name"):
            yield Item(name, f'McpServer.functions("{name}")', _text(entry, "comment"))


def _schemas(reader: _Reader, catalog: str | None) -> Iterator[tuple[str, str]]:
    catalogs = (
        [catalog] if catalog else [_text(one, "name") for one in reader.pages(f"{CATALOGS}/catalogs", "catalogs")]
    )

    def of(one: str) -> Iterator[Mapping[str, Any]]:
        return reader.pages(f"{CATALOGS}/schemas", "schemas", catalog_name=one)

    for home, entry in reader.within([one for one in catalogs if not one.startswith("__")], of):
        name = _text(entry, "name")
        # Of Databricks' own catalog, only the functions made for agents.
        if name and name != "information_schema" and (home != "system" or name == "ai"):
            yield home, name


def _genie(reader: _Reader) -> Iterator[Item]:
    for entry in reader.pages("/api/2.0/genie/spaces", "spaces"):
        if space := _text(entry, "space_id"):
            yield Item(_text(entry, "title") or space, f'McpServer.genie("{space}")', _text(entry, "description"))


def _mcp_apps(reader: _Reader) -> Iterator[Item]:
    for entry in reader.pages("/api/2.0/apps", "apps"):
        name, url = _text(entry, "name"), _text(entry, "url")
        # The naming by which Databricks recognizes apps that are MCP servers.
        if name.startswith("mcp-") and url:
            use = f'McpServer.at("{url.rstrip("/")}/mcp", name="{name}", acting_as="app")'
            yield Item(name, use, _text(entry, "description"))


def _mcp_connections(reader: _Reader) -> Iterator[Item]:
    for entry in reader.pages(f"{CATALOGS}/connections", "connections"):
        options = entry.get("options")
        if isinstance(options, dict) and options.get("is_mcp_connection") == "true" and (name := _text(entry, "name")):
            yield Item(name, f'McpServer.external("{name}")', _text(entry, "comment"))


def _lakebase_endpoints(reader: _Reader) -> Iterator[Item]:
    for branch, name in _of_branches(reader, "endpoints"):
        yield Item(name, f"GRAPH_AGENT_STORE={name}", f"of the branch {branch}")


def _lakebase_databases(reader: _Reader) -> Iterator[Item]:
    for branch, name in _of_branches(reader, "databases"):
        yield Item(name, f"database: {name}", f"for the resource postgres of databricks.yml, with branch: {branch}")


def _of_branches(reader: _Reader, kind: str) -> Iterator[tuple[str, str]]:
    """The branches of all Lakebase projects, each with the name of one of its endpoints or databases."""
    projects = [_text(one, "name") for one in reader.pages(f"{POSTGRES}/projects", "projects")]

    def branches(project: str) -> Iterator[Mapping[str, Any]]:
        return reader.pages(f"{POSTGRES}/{project}/branches", "branches")

    def entries(branch: str) -> Iterator[Mapping[str, Any]]:
        return reader.pages(f"{POSTGRES}/{branch}/{kind}", kind)

    named = [_text(entry, "name") for _, entry in reader.within(projects, branches)]
    for branch, entry in reader.within(named, entries):
        if name := _text(entry, "name"):
            yield branch, name

"""Finds the workspace resources that loaded graphs use."""

import logging
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from graph_agent.app_context import AppContext
from graph_agent.catalog.manifest import GraphSpec
from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.default_model import default_model
from graph_agent.databricks.functions import Functions
from graph_agent.databricks.index_query import IndexQuery
from graph_agent.databricks.mcp import McpServer, McpTools
from graph_agent.models import DeferredChatModel
from graph_agent.models.providers import GATEWAY
from graph_agent.packaging.resources import Resources
from graph_agent.settings import Settings

logger = logging.getLogger(__name__)

PROVIDER = "databricks:"

Found = defaultdict[str, set[str]]
"""Names by kind, as `Resources` has them."""

Answer = TypeVar("Answer")


def resources_of(
    specs: Iterable[GraphSpec], settings: Settings, *, used: Mapping[str, Sequence[str]] | None = None
) -> Resources:
    """The resources that the loaded graphs of `specs` use, and those in `used`, by the fields of `Resources`.

    It finds the chat models, document searches, functions and MCP servers in module variables and lists of a graph's
    file and of the modules next to it. It also finds the embedding endpoints of their indexes, and the functions of
    their schemas. Everything else must be in `used`: Genie spaces that are not MCP servers, Lakebase instances, and
    what a node creates itself.
    """
    found: Found = defaultdict(set)
    for kind, names in (used or {}).items():
        found[kind].update(names)
    for value in _variables(specs):
        _note(value, settings, found)
    for index in found["indexes"]:
        found["endpoints"].update(_embedding_endpoint(index))
    return Resources(**{kind: frozenset(names) for kind, names in found.items()})


def _variables(specs: Iterable[GraphSpec]) -> Iterable[Any]:
    folders = tuple(f"{spec.path.parent}{os.sep}" for spec in specs)
    # Copies, because an import during the iteration changes the originals.
    for module in list(sys.modules.values()):
        if (getattr(module, "__file__", None) or "").startswith(folders):
            for value in list(vars(module).values()):
                yield from value if isinstance(value, list | tuple) else [value]


def _note(value: Any, settings: Settings, found: Found) -> None:
    match value:
        case DeferredChatModel():
            name = value.name or default_model(AppContext(settings))
            # Models behind the AI gateway are not serving endpoints, so there is nothing to declare.
            if name.startswith(PROVIDER) and not name.startswith(PROVIDER + GATEWAY):
                found["endpoints"].add(name.removeprefix(PROVIDER))
        case IndexQuery():
            found["indexes"].add(value.index or settings.index)
            found["endpoints"].update([value.embedding] if value.embedding else [])
        case Functions():
            found["functions"].update(value.names)
            if warehouse := value.warehouse or os.environ.get("DATABRICKS_WAREHOUSE_ID"):
                found["warehouses"].add(warehouse)
        case McpTools():
            for server in value.servers:
                _note_server(server, found)


def _note_server(server: McpServer, found: Found) -> None:
    # The last scope is the name that Databricks' own client requests.
    found["mcp_scopes"].update(server.scopes[-1:])
    last = server.place.rpartition("/")[2]
    match server.kind:
        case "functions":
            whole_schema = server.name.count(".") == 1
            found["functions"].update(_functions_of(server.name) if whole_schema else [server.name])
        case "ai-search" | "vector-search" if server.name.count(".") == 2:
            found["indexes"].add(server.name)
        case "ai-search" | "vector-search":
            logger.warning("the graphs search the schema %s; name its indexes with --index", server.name)
        case "genie" if last != "genie":
            found["genie_spaces"].add(last)
        case "external":
            found["connections"].add(last)


def _functions_of(schema: str) -> list[str]:
    catalog, _, name = schema.partition(".")
    listed = _looked_up(
        f"the functions of {schema}",
        "--function",
        lambda: list(workspace_client().functions.list(catalog_name=catalog, schema_name=name)),
    )
    return [one.full_name for one in listed or [] if one.full_name]


def _embedding_endpoint(index: str) -> list[str]:
    """The endpoint that embeds the index's queries. Empty if Databricks does not compute the embeddings."""
    described = _looked_up(
        f"index {index}", "--endpoint", lambda: workspace_client().vector_search_indexes.get_index(index)
    )
    spec = described.delta_sync_index_spec if described is not None else None
    columns = (spec.embedding_source_columns if spec else None) or []
    return [name for one in columns if (name := one.embedding_model_endpoint_name)]


def _looked_up(what: str, flag: str, look: Callable[[], Answer]) -> Answer | None:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - a model can be logged without a workspace; the flag replaces the lookup
        reason = type(error).__name__
        logger.warning("%s cannot be looked up (%s); name what the graphs use of it with %s", what, reason, flag)
        return None

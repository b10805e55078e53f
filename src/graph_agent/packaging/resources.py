"""What a model may use in the workspace, declared so that Model Serving can give it the rights to just that."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from graph_agent.catalog import GraphSpec
from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.models import DeferredChatModel
from graph_agent.settings import Settings

logger = logging.getLogger(__name__)

PROVIDER = "databricks:"

SCOPES = {
    "endpoints": "serving.serving-endpoints",
    "indexes": "vectorsearch.vector-search-indexes",
    "functions": "sql",
    "genie_spaces": "dashboards.genie",
}
"""The API scope a user's token needs for each kind. Source: Databricks, "Configure authorization in Apps" and
"Agent authentication"; the dotted names are those `UserAuthPolicy` documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Names of what graphs use, by kind."""

    endpoints: frozenset[str] = field(default_factory=frozenset)
    indexes: frozenset[str] = field(default_factory=frozenset)
    functions: frozenset[str] = field(default_factory=frozenset)
    genie_spaces: frozenset[str] = field(default_factory=frozenset)
    lakebase: frozenset[str] = field(default_factory=frozenset)

    def scopes(self) -> list[str]:
        """What a user's token must be allowed, where calls act for the user."""
        return sorted(scope for kind, scope in SCOPES.items() if getattr(self, kind))

    def named(self) -> Iterator[tuple[str, list[str]]]:
        """Each kind that is used, with its names."""
        for one in fields(self):
            if names := getattr(self, one.name):
                yield one.name.replace("_", " "), sorted(names)

    def for_mlflow(self) -> list[Any]:
        """The same as MLflow's resource objects."""
        from mlflow.models import resources

        return [
            *(resources.DatabricksServingEndpoint(endpoint_name=one) for one in sorted(self.endpoints)),
            *(resources.DatabricksVectorSearchIndex(index_name=one) for one in sorted(self.indexes)),
            *(resources.DatabricksFunction(function_name=one) for one in sorted(self.functions)),
            *(resources.DatabricksGenieSpace(genie_space_id=one) for one in sorted(self.genie_spaces)),
            *(resources.DatabricksLakebase(database_instance_name=one) for one in sorted(self.lakebase)),
        ]


def resources_of(
    specs: Iterable[GraphSpec],
    settings: Settings,
    *,
    endpoints: Sequence[str] = (),
    indexes: Sequence[str] = (),
    functions: Sequence[str] = (),
    genie_spaces: Sequence[str] = (),
    lakebase: Sequence[str] = (),
) -> Resources:
    """What the loaded graphs of `specs` use, and what was named beside it.

    Found are the chat models and document searches that a graph's file keeps in variables of its own, with the
    embedding endpoints of the indexes. Anything else is to be named.
    """
    models, searches = set(endpoints), set(indexes)
    for value in _variables(specs):
        if isinstance(value, DeferredChatModel):
            models.add(value.name or settings.model)
        elif isinstance(value, DocumentSearch):
            searches.add(value.index or settings.index)
    served = {one.removeprefix(PROVIDER) for one in models if one.startswith(PROVIDER)} | set(endpoints)
    return Resources(
        endpoints=frozenset(served | {found for one in searches if (found := _embedding_endpoint(one))}),
        indexes=frozenset(searches),
        functions=frozenset(functions),
        genie_spaces=frozenset(genie_spaces),
        lakebase=frozenset(lakebase),
    )


def _variables(specs: Iterable[GraphSpec]) -> Iterable[Any]:
    """The variables of the graphs' files and of the modules beside them, and what lists of theirs hold."""
    folders = {str(spec.path.parent) for spec in specs}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) or ""
        if any(file.startswith(f"{folder}/") for folder in folders):
            for value in list(vars(module).values()):
                yield from value if isinstance(value, list | tuple) else [value]


def _embedding_endpoint(index: str) -> str | None:
    """The endpoint that turns the index's queries into vectors, where Databricks manages that."""
    try:
        found = workspace_client().vector_search_indexes.get_index(index)
    except Exception as error:
        logger.warning(
            "index %s cannot be looked up (%s): if an endpoint embeds its queries, name it with --endpoint",
            index,
            type(error).__name__,
        )
        return None
    columns = found.delta_sync_index_spec.embedding_source_columns if found.delta_sync_index_spec else None
    return next((one.embedding_model_endpoint_name for one in columns or []), None)

"""The workspace resources of a model, declared so that Model Serving gives it the rights to these and no others."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

SCOPES = {
    "endpoints": "serving.serving-endpoints",
    "indexes": "vectorsearch.vector-search-indexes",
    "functions": "sql",
    "warehouses": "sql",
    "genie_spaces": "dashboards.genie",
    "connections": "catalog.connections",
}
"""The API scope that a user's token needs for each kind. Source: MLflow, `UserAuthPolicy`; Databricks, "Agent
authentication"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The names of the resources that graphs use, by kind."""

    endpoints: frozenset[str] = field(default_factory=frozenset)
    indexes: frozenset[str] = field(default_factory=frozenset)
    functions: frozenset[str] = field(default_factory=frozenset)
    warehouses: frozenset[str] = field(default_factory=frozenset)
    genie_spaces: frozenset[str] = field(default_factory=frozenset)
    connections: frozenset[str] = field(default_factory=frozenset)
    lakebase: frozenset[str] = field(default_factory=frozenset)

    mcp_scopes: frozenset[str] = field(default_factory=frozenset)
    """The scopes of the MCP servers that graphs use."""

    def scopes(self) -> list[str]:
        """The scopes that a user's token needs, if calls act for the user."""
        return sorted({scope for kind, scope in SCOPES.items() if getattr(self, kind)} | self.mcp_scopes)

    def named(self) -> Iterator[tuple[str, list[str]]]:
        """Each kind that has names, with its names."""
        for one in fields(self):
            if names := getattr(self, one.name):
                yield one.name.replace("_", " "), sorted(names)

    def for_mlflow(self) -> list[Any]:
        """The resources as MLflow's resource objects."""
        from mlflow.models import resources as kinds

        return [
            *map(kinds.DatabricksServingEndpoint, sorted(self.endpoints)),
            *map(kinds.DatabricksVectorSearchIndex, sorted(self.indexes)),
            *map(kinds.DatabricksFunction, sorted(self.functions)),
            *map(kinds.DatabricksSQLWarehouse, sorted(self.warehouses)),
            *map(kinds.DatabricksGenieSpace, sorted(self.genie_spaces)),
            *map(kinds.DatabricksUCConnection, sorted(self.connections)),
            *map(kinds.DatabricksLakebase, sorted(self.lakebase)),
        ]

"""What a model may use in the workspace, declared so that Model Serving can give it the rights to just that."""

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
"""The API scope a user's token needs for each kind. Source: MLflow, `UserAuthPolicy`; Databricks, "Agent
authentication"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Names of what graphs use, by kind."""

    endpoints: frozenset[str] = field(default_factory=frozenset)
    indexes: frozenset[str] = field(default_factory=frozenset)
    functions: frozenset[str] = field(default_factory=frozenset)
    warehouses: frozenset[str] = field(default_factory=frozenset)
    genie_spaces: frozenset[str] = field(default_factory=frozenset)
    connections: frozenset[str] = field(default_factory=frozenset)
    lakebase: frozenset[str] = field(default_factory=frozenset)

    mcp_scopes: frozenset[str] = field(default_factory=frozenset)
    """Scopes of the MCP servers among them."""

    def scopes(self) -> list[str]:
        """What a user's token must be allowed, where calls act for the user."""
        return sorted({scope for kind, scope in SCOPES.items() if getattr(self, kind)} | self.mcp_scopes)

    def named(self) -> Iterator[tuple[str, list[str]]]:
        """Each kind that is used, with its names."""
        for one in fields(self):
            if names := getattr(self, one.name):
                yield one.name.replace("_", " "), sorted(names)

    def for_mlflow(self) -> list[Any]:
        """The same as MLflow's resource objects."""
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

"""The user authorization scopes that a graph with a model and an index needs, and those that a bundle declares."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SCOPES: Mapping[str, Sequence[str]] = {
    "serving.serving-endpoints": ("model-serving", "ai-gateway"),
    "vectorsearch.vector-search-indexes:read": (
        *("vectorsearch.vector-search-indexes", "vector-search", "ai-search", "mcp.vectorsearch"),
    ),
}
"""The scopes that a user's token needs for a graph with a model and an index. Each has other names too, as workspaces
differ in the names that they accept."""


def declared_scopes(document: Any) -> frozenset[str]:
    """`user_api_scopes` of all apps of a bundle, its targets included."""
    if not isinstance(document, dict):
        return frozenset()
    # In YAML any of these keys may be present with an empty value, which reads as `None`.
    layers = [document, *(document.get("targets") or {}).values()]
    apps = [app for layer in layers for app in (((layer or {}).get("resources") or {}).get("apps") or {}).values()]
    return frozenset(scope for app in apps for scope in (app or {}).get("user_api_scopes") or ())


def lacking_scopes(given: Iterable[str]) -> Sequence[str]:
    """The scopes that a model and an index need and that are not in `given` under any of their names."""
    names = set(given)
    return [scope for scope, others in SCOPES.items() if not names & {scope, *others}]

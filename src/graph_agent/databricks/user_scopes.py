"""The user authorization scopes that a graph with a model and an index needs, and those that a bundle declares."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SCOPES: Mapping[str, Sequence[str]] = {
    "serving.serving-endpoints": ("model-serving", "ai-gateway"),
    "vectorsearch.vector-search-indexes:read": (
        *("vectorsearch.vector-search-indexes", "vector-search", "ai-search", "mcp.vectorsearch"),
    ),
}
"""What a user's token must be allowed for a graph that asks a model and an index; each with its other names, as
workspaces differ in the names they take."""


def declared_scopes(document: Any) -> frozenset[str]:
    """`user_api_scopes` of the apps of a bundle, those of its targets included."""
    if not isinstance(document, dict):
        return frozenset()
    layers = [document, *(document.get("targets") or {}).values()]
    apps = [app for layer in layers for app in (((layer or {}).get("resources") or {}).get("apps") or {}).values()]
    return frozenset(scope for app in apps for scope in (app or {}).get("user_api_scopes") or ())


def lacking_scopes(given: Iterable[str]) -> Sequence[str]:
    """Of what a model and an index need, what is not among `given` under any of its names."""
    names = set(given)
    return [scope for scope, others in SCOPES.items() if not names & {scope, *others}]

"""The targets of a bundle: how one is chosen, and how its values override the common ones."""

from collections.abc import Mapping
from typing import Any

from graph_agent.errors import BadBundle


def choose_target(document: Mapping[str, Any], target: str | None) -> str:
    """The target to deploy: the named one, or the bundle's default.

    Raises:
        BadBundle: there is no such target, or none was named and the bundle has several without one default.
    """
    targets = document.get("targets") or {}
    if target is None:
        defaults = [name for name, one in targets.items() if (one or {}).get("default")]
        if len(targets) == 1 or len(defaults) == 1:
            return str((defaults or list(targets))[0])
        raise BadBundle(
            f"choose a target with --target; databricks.yml has {', '.join(targets) or 'none'}", param="targets"
        )
    if target not in targets:
        raise BadBundle(
            f"databricks.yml has no target {target!r}; it has {', '.join(targets) or 'none'}", param="targets"
        )
    return target


def merge(base: Any, over: Any) -> Any:
    """Override the common values with a target's, as the Databricks CLI does. Mappings are merged. Lists are joined,
    and their entries with the same `name` are merged. Everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        keys = [*base, *(key for key in over if key not in base)]
        return {key: merge(base[key], over[key]) if key in base and key in over else (over | base)[key] for key in keys}
    if isinstance(base, list) and isinstance(over, list):
        named = {one["name"]: one for one in over if _has_name(one)}
        kept = [merge(one, named.pop(one["name"], None)) if _has_name(one) else one for one in base]
        return [*kept, *(one for one in over if not _has_name(one) or one["name"] in named)]
    if isinstance(base, dict) and over is not None:
        # A target may give a variable's value directly, without a mapping with `default`.
        return {**base, "default": over}
    return base if over is None else over


def _has_name(entry: Any) -> bool:
    return isinstance(entry, dict) and "name" in entry

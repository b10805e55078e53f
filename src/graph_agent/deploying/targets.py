"""The targets of a bundle: which one is meant, and what it says in place of the common part."""

from collections.abc import Mapping
from typing import Any

from graph_agent.errors import BadBundle


def choose_target(document: Mapping[str, Any], target: str | None) -> str:
    """The target that is meant; the bundle's default if none is named.

    Raises:
        BadBundle: there is no such target, or none was named and there are several.
    """
    targets = document.get("targets") or {}
    if target is None:
        defaults = [name for name, one in targets.items() if (one or {}).get("default")]
        if len(targets) == 1 or len(defaults) == 1:
            return str((defaults or list(targets))[0])
        raise BadBundle(f"name a target; databricks.yml has {', '.join(targets) or 'none'}", param="targets")
    if target not in targets:
        raise BadBundle(
            f"databricks.yml has no target {target!r}; it has {', '.join(targets) or 'none'}", param="targets"
        )
    return target


def merge(base: Any, over: Any) -> Any:
    """A target's values over the common ones, as the CLI does it: mappings are merged, lists joined, where entries of
    the same `name` are merged, and the rest is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        keys = [*base, *(key for key in over if key not in base)]
        return {key: merge(base[key], over[key]) if key in base and key in over else (over | base)[key] for key in keys}
    if isinstance(base, list) and isinstance(over, list):
        named = {one["name"]: one for one in over if _has_name(one)}
        kept = [merge(one, named.pop(one["name"], None)) if _has_name(one) else one for one in base]
        return [*kept, *(one for one in over if not _has_name(one) or one["name"] in named)]
    if isinstance(base, dict) and over is not None:
        # A target may give a variable's value itself in place of a mapping with `default`.
        return {**base, "default": over}
    return base if over is None else over


def _has_name(entry: Any) -> bool:
    return isinstance(entry, dict) and "name" in entry

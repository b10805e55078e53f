"""`langgraph.json`, the list of graphs. Imports neither LangGraph nor a graph.

LangGraph Studio reads the same file: `{"graphs": {"name": "./file.py:variable"}}`. Source: LangGraph CLI
configuration reference.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_agent.errors import GraphNotLoaded, UnknownGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpec:
    """One line of the manifest."""

    name: str
    path: Path
    variable: str
    description: str | None = None

    folders: tuple[Path, ...] = ()
    """What else the graph may import from: the manifest's `dependencies` that are folders."""


def read_manifest(path: Path) -> list[GraphSpec]:
    """The graphs `langgraph.json` names, in its order.

    Raises:
        GraphNotLoaded: the file is missing, is not JSON, or names a graph in a way LangGraph does not.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GraphNotLoaded(f"{path} does not exist; name your graphs there or pass --config") from None
    except json.JSONDecodeError as error:
        raise GraphNotLoaded(f"{path}: no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (ValueError, OSError) as error:
        raise GraphNotLoaded(f"{path} cannot be read ({type(error).__name__})") from None
    graphs = manifest.get("graphs") if isinstance(manifest, dict) else None
    if not isinstance(graphs, dict) or not graphs:
        raise GraphNotLoaded(f'{path} names no graph; expected {{"graphs": {{"name": "./file.py:graph"}}}}')
    folders = _folders(path, manifest.get("dependencies"))
    return [_spec(path, name, entry, folders) for name, entry in graphs.items()]


def _folders(manifest: Path, dependencies: Any) -> tuple[Path, ...]:
    """As `langgraph dev` does: requirements that are no folder are for whoever installs them."""
    named = [one for one in dependencies if isinstance(one, str)] if isinstance(dependencies, list) else []
    found = [(manifest.parent / one).resolve() for one in named]
    return tuple(folder for folder in found if folder.is_dir())


def _spec(manifest: Path, name: str, entry: Any, folders: tuple[Path, ...]) -> GraphSpec:
    target, description = (entry.get("path"), entry.get("description")) if isinstance(entry, dict) else (entry, None)
    file, _, variable = target.rpartition(":") if isinstance(target, str) else ("", "", "")
    if not file or not variable:
        raise GraphNotLoaded(f"{manifest}: graph {name!r} must be './file.py:variable'", param=name)
    return GraphSpec(
        name=name,
        path=(manifest.parent / file).resolve(),
        variable=variable,
        description=description,
        folders=folders,
    )


def check_graph_name(name: str, specs: Sequence[GraphSpec]) -> None:
    """See that the manifest names that graph.

    Raises:
        UnknownGraph: it does not; the message has the names there are.
    """
    if name not in {spec.name for spec in specs}:
        raise UnknownGraph(f"no graph named {name!r}; known: {', '.join(spec.name for spec in specs)}", param="graph")

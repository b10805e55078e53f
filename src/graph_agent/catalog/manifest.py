"""Reads `langgraph.json`, the list of graphs. Imports neither LangGraph nor a graph.

LangGraph Studio reads the same file: `{"graphs": {"name": "./file.py:variable"}}`. Source: LangGraph CLI
configuration reference.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graph_agent.catalog.cards import GraphCard, read_card
from graph_agent.errors import GraphNotLoaded, UnknownGraph

COMPACTION_MODEL = "compaction_model"
"""The field that names a model for summaries: of the file, for all graphs, or of one graph. LangGraph ignores it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpec:
    """One graph in the manifest."""

    name: str
    path: Path
    variable: str
    card: GraphCard = field(default_factory=GraphCard)
    """What people are told about the graph."""

    compaction_model: str | None = None
    """The model that summarizes long conversations with the graph, as `provider:name`. `None`: the default model."""

    folders: tuple[Path, ...] = ()
    """Folders from which the graph may import: those among the manifest's `dependencies`."""


def read_manifest(path: Path) -> list[GraphSpec]:
    """The graphs that `langgraph.json` lists, in its order.

    Raises:
        GraphNotLoaded: the file is missing, is not JSON, or lists a graph in a form that LangGraph does not accept.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GraphNotLoaded(f"{path} does not exist; list your graphs there or pass --config") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise GraphNotLoaded(f"{path}: not valid JSON at {place}: {error.msg}") from None
    except (ValueError, OSError) as error:
        raise GraphNotLoaded(f"{path} cannot be read ({type(error).__name__})") from None
    graphs = manifest.get("graphs") if isinstance(manifest, dict) else None
    if not isinstance(graphs, dict) or not graphs:
        raise GraphNotLoaded(f'{path} lists no graph; expected {{"graphs": {{"name": "./file.py:graph"}}}}')
    folders = _folders(path, manifest.get("dependencies"))
    _require_model(path, "", manifest)
    return [_spec(path, name, entry, folders, manifest.get(COMPACTION_MODEL)) for name, entry in graphs.items()]


def _folders(manifest: Path, dependencies: Any) -> tuple[Path, ...]:
    """The dependencies that are folders, as `langgraph dev` treats them."""
    # The others are requirements, which the user installs.
    named = [one for one in dependencies if isinstance(one, str)] if isinstance(dependencies, list) else []
    found = [(manifest.parent / one).resolve() for one in named]
    return tuple(folder for folder in found if folder.is_dir())


def _require_model(manifest: Path, name: str, described: Mapping[str, Any]) -> None:
    value = described.get(COMPACTION_MODEL)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        of = f" of graph {name!r}" if name else ""
        raise GraphNotLoaded(f"{manifest}: `{COMPACTION_MODEL}`{of} must be 'provider:name'", param=name or None)


def _spec(manifest: Path, name: str, entry: Any, folders: tuple[Path, ...], compaction_model: str | None) -> GraphSpec:
    described = entry if isinstance(entry, dict) else {}
    _require_model(manifest, name, described)
    target = described.get("path") if isinstance(entry, dict) else entry
    file, _, variable = target.rpartition(":") if isinstance(target, str) else ("", "", "")
    if not file or not variable:
        raise GraphNotLoaded(f"{manifest}: graph {name!r} must be './file.py:variable'", param=name)
    return GraphSpec(
        name=name,
        # Absolute: graphs are loaded later, when a host app may have changed the working directory.
        path=(manifest.parent / file).resolve(),
        variable=variable,
        card=read_card(manifest, name, described),
        compaction_model=described.get(COMPACTION_MODEL) or compaction_model,
        folders=folders,
    )


def check_graph_name(name: str, specs: Sequence[GraphSpec]) -> None:
    """Check that the manifest lists a graph of that name.

    Raises:
        UnknownGraph: it does not; the message lists the known names.
    """
    if name not in {spec.name for spec in specs}:
        raise UnknownGraph(f"no graph named {name!r}; known: {', '.join(spec.name for spec in specs)}", param="graph")

"""The prompts of a graph, read from its file without running it: what no answer may repeat."""

import ast
import re
from pathlib import Path

from graph_agent.manifest import read_manifest
from graph_agent.nodes import answerable

_FIELD = re.compile(r"\{\w+\}")
SHORTEST = 60
"""Characters; shorter texts are names, descriptions and answers that are meant to be said."""


def prompts_of(config: Path, graph: str | None) -> list[str]:
    """The long texts assigned to names in the graph's file, and those of the nodes it is made of.

    Raises:
        GraphNotLoaded: there is no such list of graphs.
    """
    specs = read_manifest(config)
    spec = next((one for one in specs if one.name == graph), specs[0])
    own = texts_of(spec.path.read_text(encoding="utf-8")) if spec.path.suffix == ".py" else []
    return [*own, answerable.ROLE, _FIELD.sub("\n", answerable.REQUEST)]


def texts_of(source: str) -> list[str]:
    """Long texts that a module assigns to names."""
    return [
        node.value.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and len(node.value.value) >= SHORTEST
    ]

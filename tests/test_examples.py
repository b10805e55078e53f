"""The examples of the documentation: what they import is there, and those that are whole run."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.pregel import Pregel

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def ours(code: str) -> Iterator[tuple[str, str]]:
    """What an example imports of graph-agent: module and name."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graph_agent"):
            yield from ((str(node.module), one.name) for one in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_everything_an_example_imports_is_there(page: Path) -> None:
    for code in blocks(page):
        for module, name in ours(code):
            assert hasattr(importlib.import_module(module), name), f"{page.name}: from {module} import {name}"


def test_the_front_door_is_written_out() -> None:
    import graph_agent

    imported = {name for code in blocks(ROOT / "docs" / "graphs.md") for module, name in ours(code)}
    assert set(graph_agent.__all__) <= imported


def test_the_first_example_of_retrieval_is_a_whole_graph() -> None:
    made: dict[str, Any] = {}
    exec(blocks(ROOT / "docs" / "retrieval.md")[0], made)
    assert isinstance(made["graph"], Pregel)

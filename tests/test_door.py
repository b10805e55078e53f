"""The public door: everything that graphs, evaluations and hosts need is in `graph_agent`, and they import it there."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import graph_agent

ROOT = Path(__file__).parents[1]
DOOR = Path(graph_agent.__file__)

DOORS = frozenset({"graph_agent", "graph_agent.evaluating", "graph_agent.testing"})
"""What a project that depends on the package may import."""

WITHIN = ROOT / "evals" / "retrieval"
"""Measures the local workspace and its index, which have no door, as `bench` does. No project copies it."""

PROGRAMS = [
    path
    for folder in ("graphs", "evals", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if WITHIN not in path.parents
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.S | re.M)
IN_WORDS = re.compile(r"\b(?:from\s+(graph_agent[\w.]*)\s+import\b|import\s+(graph_agent[\w.]*))")

HEAVY = ("langgraph", "langchain_core", "mlflow", "databricks", "starlette", "uvicorn", "httpx", "openai", "pydantic")


def imports(code: str) -> Iterator[tuple[str, str | None]]:
    """What code imports of the package: module, and name where there is one."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", one.name) for one in node.names)
        elif isinstance(node, ast.Import):
            yield from ((one.name, None) for one in node.names)


def behind_the_door(code: str) -> list[str]:
    """Modules of the package that code imports and should not."""
    ours = {(module, name) for module, name in imports(code) if module.split(".")[0] == "graph_agent"}
    inner = {module for module, _ in ours if module not in DOORS}
    # `from graph_agent import nodes` is a module too.
    modules = {one.name for one in pkgutil.iter_modules(graph_agent.__path__)}
    inner |= {f"graph_agent.{name}" for module, name in ours if module == "graph_agent" and name in modules}
    return sorted(inner - DOORS)


def assigned(name: str) -> ast.expr:
    """The value of a variable of the door, as it is written."""
    for node in ast.parse(DOOR.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return node.value
    raise AssertionError(name)


def kind(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each by the alphabet: the order of Ruff and isort."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_its_names_are_sorted_and_each_stands_once() -> None:
    names = ast.literal_eval(assigned("__all__"))
    assert names == sorted(set(names), key=kind)


def test_its_three_lists_agree() -> None:
    table = ast.literal_eval(assigned("_MODULES"))
    typed = {name: module for module, name in imports(DOOR.read_text(encoding="utf-8")) if module in table.values()}
    assert table == typed
    assert sorted(table) == sorted(graph_agent.__all__)


@pytest.mark.parametrize("name", graph_agent.__all__)
def test_every_name_resolves_to_what_its_module_has(name: str) -> None:
    module = ast.literal_eval(assigned("_MODULES"))[name]
    assert getattr(graph_agent, name) is getattr(importlib.import_module(module), name)


def test_its_names_are_listed_and_none_is_a_module_of_the_package() -> None:
    assert set(graph_agent.__all__) <= set(dir(graph_agent))
    assert not set(graph_agent.__all__) & {one.name for one in pkgutil.iter_modules(graph_agent.__path__)}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = graph_agent.no_such_name


def test_importing_it_loads_nothing_heavy() -> None:
    code = f"import sys; import graph_agent; print([one for one in {HEAVY} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_programs_import_from_the_door_alone(program: Path) -> None:
    assert behind_the_door(program.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_import_from_the_door_alone(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [module for code in BLOCK.findall(text) for module in behind_the_door(code)] == []
    assert {one or other for one, other in IN_WORDS.findall(text)} <= DOORS


def test_an_import_behind_the_door_is_noticed() -> None:
    assert behind_the_door("from graph_agent.nodes.planner import make_planner") == ["graph_agent.nodes.planner"]
    assert behind_the_door("def later():\n    import graph_agent.settings as s") == ["graph_agent.settings"]
    assert behind_the_door("from graph_agent import nodes, chat_model") == ["graph_agent.nodes"]
    assert behind_the_door("from graph_agent import chat_model\nimport graph_agent") == []

"""Who may import whom: `docs/architecture.md` has the drawing, and the imports of the package must match it.

A room is a folder of `src/graph_agent`, or a module beside the folders. Every import counts: at the top of a module,
inside a function, and for type checking alone.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "src" / "graph_agent"
DRAWING = PROJECT / "docs" / "architecture.md"

TEMPLATE = PACKAGE / "project_template"
"""What `graph-agent init` writes: files of another project, which the package does not import."""

Arrows = Mapping[str, Set[str]]


def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        if TEMPLATE in file.parents:
            continue
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    return found


def imported(tree: ast.Module, known: Set[str]) -> Iterator[str]:
    """Modules of the package that a module names in an import statement, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports inside the package are absolute"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                if module in known or node.module in known:
                    yield module if module in known else str(node.module)


def arrows_between_modules() -> Arrows:
    trees = modules()
    return {name: set(imported(tree, trees.keys())) - {name} for name, tree in trees.items()}


def arrows_between_rooms() -> Arrows:
    found: dict[str, set[str]] = {}
    for name, targets in arrows_between_modules().items():
        found.setdefault(room_of(name), set()).update(map(room_of, targets))
    return {room: targets - {room} for room, targets in found.items()}


def room_of(module: str) -> str:
    """`graph_agent` itself is the room of the public door."""
    return [*module.split("."), "__init__"][1]


def drawn_rooms(text: str) -> dict[str, set[str]]:
    """The lines `room -> room, room` of the drawing, in their order."""
    block = re.search(r"^```rooms\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block, f"{DRAWING.name} has no block ```rooms"
    found: dict[str, set[str]] = {}
    for line in block[1].splitlines():
        room, _, targets = line.partition(" ->")
        for one in room.split(", "):
            assert one not in found, f"{one} is drawn twice"
            found[one] = {target.strip() for target in targets.split(",")} - {""}
    return found


def circle_in(arrows: Arrows) -> list[str]:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle_in(arrows_between_modules()) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert circle_in(arrows_between_rooms()) == []


def test_every_arrow_is_drawn_and_every_drawn_arrow_is_an_import() -> None:
    there, drawn = arrows_between_rooms(), drawn_rooms(DRAWING.read_text(encoding="utf-8"))
    wrong = {
        f"{room} -> {', '.join(sorted(there.get(room, ())))}"
        for room in there.keys() | drawn.keys()
        if room not in drawn or room not in there or there[room] != drawn[room]
    }
    assert not wrong, f"{DRAWING.name} should say: " + "; ".join(sorted(wrong))


def test_every_arrow_goes_down() -> None:
    drawn = drawn_rooms(DRAWING.read_text(encoding="utf-8"))
    order = list(drawn)
    upward = [(room, target) for room in order for target in drawn[room] if order.index(target) <= order.index(room)]
    assert upward == []


def test_late_imports_and_imports_for_type_checking_count() -> None:
    late = "def load():\n    from graph_agent.models import chat_model\n"
    typed = "if TYPE_CHECKING:\n    from graph_agent import settings\n"
    known = {"graph_agent", "graph_agent.models", "graph_agent.settings"}
    found = [list(imported(ast.parse(code), known)) for code in (late, typed)]
    assert found == [["graph_agent.models"], ["graph_agent.settings"]]


def test_the_manifest_is_read_without_langgraph() -> None:
    code = (
        "import sys; from graph_agent.catalog import manifest; print([m for m in ('langgraph',) if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

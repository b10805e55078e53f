"""Writes kept statements as modules of the new project's folder `graphs`."""

import ast
import keyword
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from graph_agent.migrating.findings import Finding
from graph_agent.migrating.sources import Kept, Module, Project, Statement, imported_by

FOLDER = "graphs"
MAIN = "agent"

FOREIGN = {
    "mlflow.genai.agent_server": "MLflow's agent server",
    "mlflow.types.responses": "MLflow's types of requests",
    "fastapi": "FastAPI",
    "agents": "the OpenAI Agents SDK",
    "databricks_ai_bridge.long_running": "the template's server of long runs",
    "dotenv": "python-dotenv",
}
"""Packages that kept code cannot use in the service, or should not."""


@dataclass(slots=True)
class Written:
    """The code of an agent in the new project."""

    files: dict[str, str] = field(default_factory=dict)
    """Text by path."""

    variable: str = "graph"
    """What langgraph.json names of the main file."""

    endpoint: str | None = None
    """The serving endpoint that the agent asked, if its name was in the code."""

    packages: dict[str, tuple[str, int]] = field(default_factory=dict)
    """First parts of the modules that the code imports, with the place of one such import."""

    user_clients: bool = False
    """Whether the code acts for the calling user."""

    taken: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)


def unused(name: str, taken: frozenset[str] | set[str]) -> str:
    """The name, or one like it that is not taken."""
    while name in taken or keyword.iskeyword(name):
        name = f"{name}_"
    return name


def write_modules(
    written: Written,
    project: Project,
    kept: Kept,
    main: Module,
    *,
    added: Mapping[Module, Sequence[str]],
    borrowed: Sequence[tuple[Module, str, str]] = (),
    ending: str = "",
) -> None:
    """Add the files to `written`. `added` are further import lines by module. `ending` goes to the end of the main
    file, and `borrowed` are the names of other modules that it uses: the module, the name there and the name here."""
    names = _file_names(kept, main)
    for module in kept.statements:
        path = f"{FOLDER}/{names[module]}.py"
        imports = list(_imports(written, project, kept, module, names))
        imports += [line for line in added.get(module, ()) if line not in imports]
        if module is main:
            imports += [f"from {names[one]} import {name}{_renamed(name, bound)}" for one, name, bound in borrowed]
        lines = _with_inner_imports(project, kept, module, names)
        text = _text(module, lines, kept, imports, ending if module is main else "")
        if text.strip():
            written.files[path] = text
        for statement in kept.of(module):
            for node in statement.nodes:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    written.taken.append(Finding(module.path, statement.first, f"{node.name}, now in {path}"))


def _file_names(kept: Kept, main: Module) -> dict[Module, str]:
    names = {main: MAIN}
    for module in kept.statements:
        if module is not main:
            # The folder of the graph comes first on the path, where it would hide a module of Python or of a package.
            name = module.name.rpartition(".")[2]
            while name in names.values() or is_installed(name):
                name = f"{name}_"
            names[module] = name
    return names


def is_installed(name: str) -> bool:
    """Whether there is a module of that name outside of the project. It is not imported."""
    try:
        return name in sys.stdlib_module_names or find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _imports(
    written: Written, project: Project, kept: Kept, module: Module, names: Mapping[Module, str]
) -> Iterator[str]:
    needed = kept.names[module]
    is_package = module.path.endswith("__init__.py")
    for statement in kept.of(module):
        if not statement.is_import:
            continue
        for node in statement.nodes:
            if isinstance(node, ast.Import):
                for alias, one in zip(node.names, imported_by(node, module.name), strict=True):
                    whole = project.local(one.module)
                    if one.bound in needed and alias.asname and whole is not None and whole in names:
                        yield f"import {names[whole]}{_renamed(names[whole], one.bound)}"
                    elif one.bound in needed:
                        written.packages.setdefault(alias.name.partition(".")[0], (module.path, statement.first))
                        yield f"import {alias.name}{_renamed(alias.name, alias.asname or alias.name)}"
            elif isinstance(node, ast.ImportFrom):
                together: dict[str, list[str]] = {}
                for one in imported_by(node, module.name, is_package=is_package):
                    if one.bound not in needed or one.name is None:
                        continue
                    whole, source = project.local(f"{one.module}.{one.name}"), project.local(one.module)
                    if whole is not None and whole in names:
                        yield f"import {names[whole]}{_renamed(names[whole], one.bound)}"
                        continue
                    if source is None and one.module in FOREIGN:
                        what = f"{one.name} of {FOREIGN[one.module]} is still used in {FOLDER}/{names[module]}.py"
                        written.left.append(Finding(module.path, statement.first, what, "replace it; it does not work"))
                    # A module of the project that is not kept cannot be imported from.
                    if source is None or source in names:
                        home = names[source] if source is not None else one.module
                        if source is None:
                            written.packages.setdefault(home.partition(".")[0], (module.path, statement.first))
                        together.setdefault(home, []).append(f"{one.name}{_renamed(one.name, one.bound)}")
                yield from (f"from {home} import {', '.join(sorted(those))}" for home, those in together.items())


def _renamed(name: str, bound: str) -> str:
    return "" if name == bound else f" as {bound}"


def _with_inner_imports(project: Project, kept: Kept, module: Module, names: Mapping[Module, str]) -> list[str]:
    """The lines of a module, with the new names in the import statements within its functions and blocks."""
    lines = module.text.split("\n")
    for statement in kept.of(module):
        for node in statement.inner:
            new = []
            for one in module.imported_by(node):
                whole = project.local(f"{one.module}.{one.name}") if one.name else project.local(one.module)
                source = project.local(one.module)
                if whole is not None and whole in names:
                    new.append(f"import {names[whole]}{_renamed(names[whole], one.bound)}")
                elif source is not None and source in names and one.name:
                    new.append(f"from {names[source]} import {one.name}{_renamed(one.name, one.bound)}")
            if new and len(new) == len(node.names):
                first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
                before = lines[first].encode()[: node.col_offset].decode()
                after = lines[last].encode()[node.end_col_offset or 0 :].decode()
                lines[first : last + 1] = [f"{before}{'; '.join(new)}{after}", *[""] * (last - first)]
    return lines


def _text(module: Module, lines: Sequence[str], kept: Kept, imports: Sequence[str], ending: str) -> str:
    parts: list[str] = []
    docstring = ast.get_docstring(module.tree)
    if docstring is not None:
        first = module.tree.body[0]
        parts.append("\n".join(lines[first.lineno - 1 : first.end_lineno]))
    future = [line for line in imports if line.startswith("from __future__ ")]
    if any(isinstance(one, ast.ImportFrom) and one.module == "__future__" for one in module.tree.body):
        future = ["from __future__ import annotations"]
    if future:
        parts.append("\n".join(future))
    if rest := _in_order([line for line in imports if not line.startswith("from __future__ ")]):
        parts.append(rest)
    text = "\n\n".join(parts)
    previous: Statement | None = None
    for statement in kept.of(module):
        if statement.is_import:
            continue
        comments = _first_comment(lines, statement, module)
        body = "\n".join(lines[comments - 1 : statement.last])
        apart = statement.defines or (previous is not None and previous.defines)
        close = previous is not None and comments == previous.last + 1
        text += ("\n\n\n" if apart else "\n" if close else "\n\n") + body
        previous = statement
    if ending:
        text += (
            "\n\n\n" if (previous is not None and previous.defines) or ending.startswith(("def", "async")) else "\n\n"
        ) + ending
    return text.strip("\n") + "\n"


def _first_comment(lines: Sequence[str], statement: Statement, module: Module) -> int:
    """The line at which the comments right above a statement begin."""
    line = statement.first
    while line > 1 and lines[line - 2].startswith("#") and not lines[line - 2].startswith("#!"):
        line -= 1
    return line


def _in_order(imports: Sequence[str]) -> str:
    """Import lines in two groups: Python's own modules, and all others. Names of one module are on one line."""
    whole = {line for line in imports if line.startswith("import ")}
    named: dict[str, set[str]] = {}
    for line in imports:
        if line not in whole:
            home, _, names = line.removeprefix("from ").partition(" import ")
            named.setdefault(home, set()).update(names.split(", "))
    lines = [*sorted(whole), *(f"from {home} import {', '.join(sorted(named[home]))}" for home in sorted(named))]
    groups: tuple[list[str], list[str]] = ([], [])
    for line in lines:
        groups[line.split()[1].partition(".")[0] not in sys.stdlib_module_names].append(line)
    return "\n\n".join("\n".join(group) for group in groups if group)

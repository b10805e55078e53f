"""Python modules as syntax trees: which top-level statements a name needs, across the modules of a project."""

import ast
import symtable
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from graph_agent.migrating.findings import Finding

Function = ast.FunctionDef | ast.AsyncFunctionDef
Node = TypeVar("Node", bound=ast.AST)

MOST_STATEMENTS = 2_000
"""Top-level statements of one module. A file with more holds data, not an agent."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One name of an import statement."""

    module: str
    """The module, absolute."""

    name: str | None
    """What is imported of it; `None` for the module itself."""

    bound: str
    """The name under which the module knows it."""


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One top-level statement. Statements that share a line are one."""

    nodes: tuple[ast.stmt, ...]
    first: int
    """Its first line, with its decorators."""

    last: int
    binds: frozenset[str]
    uses: frozenset[str]
    changes: frozenset[str]
    """Variables whose methods it calls, or whose fields or items it sets."""

    inner: tuple[ast.Import | ast.ImportFrom, ...] = ()
    """Import statements within it, such as those in a function."""

    @property
    def is_import(self) -> bool:
        """Whether it imports and does nothing else."""
        return all(isinstance(one, ast.Import | ast.ImportFrom) for one in self.nodes)

    @property
    def defines(self) -> bool:
        """Whether it defines functions or classes and does nothing else."""
        return all(isinstance(one, Function | ast.ClassDef) for one in self.nodes)


@dataclass(eq=False)
class Module:
    """One file. `name` is what other files of the project import it by."""

    path: str
    name: str
    text: str
    tree: ast.Module
    statements: list[Statement] = field(default_factory=list)

    @cached_property
    def imported(self) -> Mapping[str, list[Imported]]:
        """What the import statements at the top level bind, by the name here."""
        found: dict[str, list[Imported]] = {}
        for statement in self.statements:
            for node in statement.nodes:
                for one in self.imported_by(node):
                    found.setdefault(one.bound, []).append(one)
        return found

    def imported_by(self, node: ast.stmt) -> Iterator[Imported]:
        """The names that a statement of this module imports."""
        return imported_by(node, self.name, is_package=self.path.endswith("__init__.py"))

    @cached_property
    def binding(self) -> Mapping[str, list[Statement]]:
        """The statements that bind a name."""
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            for name in statement.binds:
                found.setdefault(name, []).append(statement)
        return found

    @cached_property
    def variables(self) -> frozenset[str]:
        """Names that it assigns at its top level: not functions, classes or imports."""
        plain = [one for one in self.statements if not (one.is_import or one.defines)]
        return frozenset(name for one in plain for name in one.binds)

    def imports(self) -> Iterator[Imported]:
        """Every name that a top-level import statement binds."""
        for those in self.imported.values():
            yield from those

    def origin(self, name: str) -> str:
        """What a name stands for, as `module.name`; empty if no top-level import binds it."""
        for one in self.imported.get(name, ()):
            return one.module if one.name is None else f"{one.module}.{one.name}"
        return ""

    def dotted(self, node: ast.AST) -> str:
        """What an expression such as `mlflow.langchain.autolog` stands for; empty for any other expression."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.origin(node.id) or node.id, *reversed(parts)])

    def functions(self) -> Iterator[Function]:
        """The functions at the top level."""
        for node in self.tree.body:
            if isinstance(node, Function):
                yield node

    def function(self, name: str) -> Function | None:
        """The function of that name at the top level."""
        return next((one for one in self.functions() if one.name == name), None)

    def value(self, name: str) -> ast.expr | None:
        """What the last assignment at the top level gives a name."""
        found = None
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(one, ast.Name) and one.id == name for one in node.targets
            ):
                found = node.value
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
                found = node.value
        return found

    def text_of(self, node: ast.expr | None) -> str | None:
        """The text that an expression is: a literal, or a name that the module gives one."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.Name):
            value = self.value(node.id)
            return self.text_of(value) if isinstance(value, ast.Constant) else None
        return None

    def source(self, node: ast.AST) -> str:
        """The text of a node."""
        return ast.get_source_segment(self.text, node) or ""


def parsed(path: str, text: str, left: list[Finding]) -> Module | None:
    """The module, or `None` with a finding if it cannot be read."""
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    try:
        with warnings.catch_warnings():
            # Such as invalid escapes in strings: they are not ours to report.
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            if len(tree.body) > MOST_STATEMENTS:
                left.append(Finding(path, 0, "too many statements", "copy by hand what you need of it"))
                return None
            return Module(path, name, text, tree, list(_statements(text, tree)))
    except SyntaxError as error:
        left.append(Finding(path, error.lineno or 0, "not valid Python", "correct it, and run the command again"))
    except (ValueError, RecursionError, MemoryError):
        left.append(Finding(path, 0, "not readable as Python", "copy by hand what you need of it"))
    return None


def _statements(text: str, tree: ast.Module) -> Iterator[Statement]:
    lines = text.split("\n")
    groups: list[list[ast.stmt]] = []
    for node in tree.body:
        if groups and groups[-1][-1].end_lineno == first_line(node):
            groups[-1].append(node)
        else:
            groups.append([node])
    for group in groups:
        first, last = first_line(group[0]), group[-1].end_lineno or group[-1].lineno
        binds, uses = _names("\n".join(lines[first - 1 : last]))
        changes = frozenset(name for node in group for name in _changed_by(node))
        inner = tuple(
            one
            for node in group
            if not isinstance(node, ast.Import | ast.ImportFrom)
            for one in ast.walk(node)
            if isinstance(one, ast.Import | ast.ImportFrom)
        )
        yield Statement(tuple(group), first, last, binds, uses, changes, inner)


def first_line(node: ast.stmt) -> int:
    """The first line of a statement, with its decorators."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(one.lineno for one in decorators)])


def _names(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a text binds at its top level, and those that it needs from around it."""
    table = symtable.symtable(text, "statement", "exec")
    binds = {
        one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported() or one.is_namespace()
    }
    uses = {one.get_name() for one in table.get_symbols() if one.is_referenced()}
    inner = list(table.get_children())
    while inner:
        scope = inner.pop()
        inner += scope.get_children()
        for symbol in scope.get_symbols():
            if symbol.is_global():
                uses.add(symbol.get_name())
                if symbol.is_declared_global() and symbol.is_assigned():
                    binds.add(symbol.get_name())
    return frozenset(binds), frozenset(uses)


def imported_by(node: ast.stmt, module: str, *, is_package: bool = False) -> Iterator[Imported]:
    """The names that an import statement binds. Relative modules are made absolute."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            # `import a.b` binds `a`.
            bound = alias.asname or alias.name.partition(".")[0]
            yield Imported(alias.name if alias.asname else bound, None, bound)
    elif isinstance(node, ast.ImportFrom):
        parents = module.split(".")
        here = parents[: len(parents) - node.level + is_package] if node.level else []
        source = ".".join([*here, *([node.module] if node.module else [])])
        for alias in node.names:
            yield Imported(source, alias.name, alias.asname or alias.name)


@dataclass(slots=True)
class Kept:
    """The statements that something needs, by module."""

    statements: dict[Module, set[Statement]] = field(default_factory=dict)
    names: dict[Module, set[str]] = field(default_factory=dict)
    """The names that are needed, also those that an import binds."""

    def of(self, module: Module) -> list[Statement]:
        """The kept statements of a module, in their order."""
        kept = self.statements.get(module, set())
        return [one for one in module.statements if one in kept]

    def nodes(self, kind: type[Node]) -> Iterator[tuple[Module, Node]]:
        """All nodes of a kind in what is kept."""
        for module in self.statements:
            for statement in self.of(module):
                for top in statement.nodes:
                    for node in ast.walk(top):
                        if isinstance(node, kind):
                            yield module, node


class Project:
    """The modules of a project by their names."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self.modules: Mapping[str, Module] = {one.name: one for one in modules}

    def local(self, name: str) -> Module | None:
        """The project's own module of that name."""
        return self.modules.get(name)

    def defined(self, module: Module, name: str) -> tuple[Module, str] | None:
        """Where the project binds a name that a module uses: there, or in the module it is imported from."""
        for _ in range(len(self.modules)):
            for one in module.imported.get(name, ()):
                if one.name is not None and (source := self.local(one.module)) is not None:
                    module, name = source, one.name
                    break
            else:
                return (module, name) if name in module.binding else None
        return None

    def needed(self, roots: Iterable[tuple[Module, str]], *, without: frozenset[str] = frozenset()) -> Kept:
        """Everything that the names need, transitively. `without` are names of functions that are never kept."""
        kept = Kept()
        waiting = list(roots)
        while True:
            while waiting:
                self._keep(*waiting.pop(), kept, waiting, without)
            # Statements that change what is kept, such as `builder.add_node(...)`.
            for module in list(kept.statements):
                variables = kept.names[module] & module.variables
                for statement in module.statements:
                    if statement not in kept.statements[module] and statement.changes & variables:
                        kept.statements[module].add(statement)
                        waiting += [(module, name) for name in statement.uses | statement.binds]
            if not waiting:
                return kept

    def _keep(
        self,
        module: Module,
        name: str,
        kept: Kept,
        waiting: list[tuple[Module, str]],
        without: frozenset[str],
    ) -> None:
        names = kept.names.setdefault(module, set())
        kept.statements.setdefault(module, set())
        if name in names or name in without:
            return
        names.add(name)
        for statement in module.binding.get(name, ()):
            kept.statements[module].add(statement)
            if not statement.is_import:
                waiting += [(module, one) for one in statement.uses]
            for node in statement.inner:
                for one in module.imported_by(node):
                    self._import(module, one, waiting)
        for one in module.imported.get(name, ()):
            self._import(module, one, waiting)

    def _import(self, module: Module, one: Imported, waiting: list[tuple[Module, str]]) -> None:
        """Keep what an import brings from another module of the project."""
        if one.name is not None and (source := self.local(one.module)) is not None and source is not module:
            waiting.append((source, one.name))
        whole = self.local(one.module if one.name is None else f"{one.module}.{one.name}")
        if whole is not None and whole is not module:
            # The module itself is imported: anything of it may be used.
            waiting += [(whole, bound) for statement in whole.statements for bound in statement.binds]


def _changed_by(node: ast.stmt) -> Iterator[str]:
    """The variables whose methods a statement calls, or whose fields or items it sets."""
    if isinstance(node, Function | ast.ClassDef | ast.Import | ast.ImportFrom) or _runs_as_script(node):
        return
    for one in ast.walk(node):
        targets: list[ast.expr] = []
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call):
            targets = [one.value.func]
        elif isinstance(one, ast.Assign):
            targets = [target for target in one.targets if not isinstance(target, ast.Name)]
        elif isinstance(one, ast.AugAssign):
            targets = [one.target]
        for target in targets:
            while isinstance(target, ast.Attribute | ast.Subscript | ast.Call):
                target = target.func if isinstance(target, ast.Call) else target.value
            if isinstance(target, ast.Name):
                yield target.id


def _runs_as_script(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(
        isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test)
    )


class Edits:
    """Replacements in the text of one module. They keep its lines, so that findings keep their numbers."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._content = module.text.encode()
        self._lines = [0]
        for line in self._content.split(b"\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        self._replaced: list[tuple[int, int, bytes]] = []

    def replace(self, node: ast.expr, text: str) -> None:
        """Replace an expression."""
        self._cut(self._start(node), self._end(node), text)

    def drop(self, call: ast.Call, keyword: ast.keyword) -> None:
        """Remove a keyword argument, with the comma that follows it or precedes it."""
        start, end = self._start(keyword), self._end(keyword)
        after = self._content[end : self._end(call)]
        spaces = len(after) - len(after.lstrip())
        if after[spaces : spaces + 1] == b",":
            end += spaces + 1
            end += len(self._content[end:]) - len(self._content[end:].lstrip(b" "))
        else:
            before = self._content[:start].rstrip()
            if before.endswith(b","):
                start = len(before) - 1
        self._cut(start, end, "")

    def rename(self, keyword: ast.keyword, name: str) -> None:
        """Give a keyword argument another name."""
        start = self._start(keyword)
        self._cut(start, start + len((keyword.arg or "").encode()), name)

    def append(self, call: ast.Call, argument: str) -> None:
        """Add an argument at the end of a call."""
        ends = [self._end(one) for one in call.args] + [self._end(one) for one in call.keywords]
        last = max(ends, default=None)
        if last is None:
            last = self._end(call) - 1
            self._cut(last, last, argument)
        else:
            self._cut(last, last, f", {argument}")

    def _cut(self, start: int, end: int, text: str) -> None:
        lines = self._content[start:end].count(b"\n")
        self._replaced.append((start, end, text.encode() + b"\n" * lines))

    def _start(self, node: ast.expr | ast.keyword) -> int:
        return self._lines[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.keyword) -> int:
        return self._lines[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)

    def applied(self) -> Module:
        """The module with the replacements; the module itself if they do not give valid Python."""
        content, before = self._content, len(self._content)
        for start, end, text in sorted(self._replaced, reverse=True):
            if end <= before:
                content = content[:start] + text + content[end:]
                before = start
        problems: list[Finding] = []
        return parsed(self.module.path, content.decode(), problems) or self.module

"""The functions of a template that answer requests, and what they ask."""

import ast
from collections.abc import Iterator

from graph_agent.migrating.findings import Finding
from graph_agent.migrating.sources import Function, Module, Project

REGISTER = ("mlflow.genai.agent_server.invoke", "mlflow.genai.agent_server.stream")
"""The decorators with which a template registers its functions at MLflow's agent server."""


def handlers_of(module: Module) -> list[Function]:
    """The functions that answer requests."""
    return [one for one in module.functions() if any(_registers(module, decorator) for decorator in one.decorator_list)]


def _registers(module: Module, decorator: ast.expr) -> bool:
    return module.dotted(decorator.func if isinstance(decorator, ast.Call) else decorator) in REGISTER


def without_await(node: ast.expr | None) -> ast.expr | None:
    """The expression that is awaited, or the expression itself."""
    return node.value if isinstance(node, ast.Await) else node


def assigned_in(function: Function, name: str) -> ast.expr | None:
    """What a function gives a variable, or enters as its context manager."""
    found = None
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
            found = node.value
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name):
            found = node.value if node.target.id == name else found
        elif isinstance(node, ast.With | ast.AsyncWith):
            for item in node.items:
                if isinstance(item.optional_vars, ast.Name) and item.optional_vars.id == name:
                    found = item.context_expr
    return without_await(found)


def enters(function: Function, name: str) -> bool:
    """Whether a function gets a variable from a context manager."""
    return any(
        isinstance(item.optional_vars, ast.Name) and item.optional_vars.id == name
        for node in ast.walk(function)
        if isinstance(node, ast.With | ast.AsyncWith)
        for item in node.items
    )


def called_from(project: Project, module: Module, functions: list[Function]) -> Iterator[tuple[Module, Function]]:
    """The functions of the project that these functions name, directly or through others, and they themselves."""
    seen: set[tuple[str, str]] = set()
    waiting = [(module, one) for one in functions]
    while waiting:
        home, function = waiting.pop()
        if (home.name, function.name) in seen:
            continue
        seen.add((home.name, function.name))
        yield home, function
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and (found := project.defined(home, node.id)) is not None:
                there, name = found
                if (other := there.function(name)) is not None:
                    waiting.append((there, other))


def not_kept(module: Module, kept: frozenset[str], handlers: list[Function]) -> Iterator[Finding]:
    """What of a module's functions and classes is not in the new project, and why."""
    answering = {one.name for one in handlers}
    for node in module.tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name in kept:
            continue
        if node.name in answering:
            yield Finding(
                module.path,
                node.lineno,
                f"{node.name}: the service answers requests itself",
                "nothing, if it is as the template wrote it; else move what you added into a node of the graph",
            )
        else:
            yield Finding(
                module.path,
                node.lineno,
                f"{node.name}: the agent does not use it",
                "nothing, if it only served the template's server; else copy it to graphs/",
            )

"""Finds the prompts of a graph, which no answer may repeat. It reads the graph's file without running it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from graph_agent.catalog.manifest import read_manifest
from graph_agent.nodes import answerability

_PROMPT_ARGUMENT = re.compile("prompt|instruction|system|role|content|message|template")
"""Names of arguments that take prompts. A text for another argument, such as `no_answer_text`, is for the reader."""

SHORTEST = 60
"""Least characters of a prompt. Shorter texts are names, descriptions, and answers for the reader."""


def prompts_of(config: Path, graph: str | None) -> list[str]:
    """Return the prompts in the file of a graph, and those of this package's nodes.

    Raises:
        GraphNotLoaded: there is no such list of graphs.
    """
    specs = read_manifest(config)
    spec = next((one for one in specs if one.name == graph), specs[0])
    own = texts_of(spec.path.read_text(encoding="utf-8")) if spec.path.suffix == ".py" else []
    return [*own, answerability.ROLE, answerability.REQUEST]


def texts_of(source: str) -> list[str]:
    """Return the long texts that a module assigns to names, except those that are only answers for the reader."""
    module = ast.parse(source)
    nodes = list(ast.walk(module))
    used = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    passed = [
        (node.value.id, node.arg or "")
        for node in nodes
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Name)
    ]
    found = []
    for name, text in _assigned(module):
        arguments = [argument for one, argument in passed if one == name]
        # A text that has any other use may be part of a prompt.
        for_the_reader = arguments and len(arguments) == used.count(name) and not any(map(_is_prompt, arguments))
        if len(text) >= SHORTEST and not for_the_reader:
            found.append(text)
    return found


def _is_prompt(argument: str) -> bool:
    return _PROMPT_ARGUMENT.search(argument) is not None


def _assigned(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from ((target.id, node.value.value) for target in node.targets if isinstance(target, ast.Name))

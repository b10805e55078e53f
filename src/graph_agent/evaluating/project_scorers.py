"""Loads the scorers that a project defines in `evals/scorers.py`."""

from collections.abc import Mapping
from typing import Any

from graph_agent.evaluating.errors import BadProjectFile
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.project_files import import_file
from graph_agent.evaluating.scorers import Scorer, scorers


def project_scorers(project: Project) -> Mapping[str, Scorer]:
    """Return the dictionary `scorers` of the project's `evals/scorers.py`; empty if there is no such file.

    Raises:
        BadProjectFile: the file does not load, has no such dictionary, or uses the name of a built-in scorer.
    """
    path = project.scorers
    if path is None:
        return {}
    own: Any = getattr(import_file(path, root=project.root), "scorers", None)
    if not isinstance(own, dict) or not all(isinstance(name, str) and callable(one) for name, one in own.items()):
        raise BadProjectFile(f"{path} needs a dictionary `scorers` of functions by name")
    if taken := sorted(own.keys() & scorers().keys()):
        raise BadProjectFile(f"{path}: {taken[0]!r} is the name of a built-in scorer; use a different name")
    return own

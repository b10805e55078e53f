"""The scorers that a project brings, in `evals/scorers.py`."""

from collections.abc import Mapping
from typing import Any

from graph_agent.evaluating.errors import BadProjectFile
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.project_files import imported
from graph_agent.evaluating.scorers import Scorer, scorers


def project_scorers(project: Project) -> Mapping[str, Scorer]:
    """The dictionary `scorers` of the project's `evals/scorers.py`, by name; empty if there is no such file.

    Raises:
        BadProjectFile: the file does not load, has no such dictionary, or gives a scorer a name that is taken.
    """
    path = project.scorers
    if path is None:
        return {}
    own: Any = getattr(imported(path, root=project.root), "scorers", None)
    if not isinstance(own, dict) or not all(isinstance(name, str) and callable(one) for name, one in own.items()):
        raise BadProjectFile(f"{path} needs a dictionary `scorers` of functions by name")
    if taken := sorted(own.keys() & scorers().keys()):
        raise BadProjectFile(f"{path}: there is a scorer named {taken[0]!r} already; give yours another name")
    return own

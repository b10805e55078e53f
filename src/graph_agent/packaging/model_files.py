"""The files and packages that a logged model needs: this package, the graphs, and what they import."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from graph_agent.catalog.manifest import GraphSpec, read_manifest
from graph_agent.errors import ConfigurationError
from graph_agent.redaction import secrets_of, with_hidden_values
from graph_agent.secret_files import ALLOWING, Allowed, describe_secrets, find_secret

FOLDER = "agent_project"
"""The project's folder in a logged model, next to this package."""

MANIFEST = "langgraph.json"

LARGEST_FILE = 10_000_000
"""The largest file of a model, in bytes. Larger files are data, which belongs in a table, a volume or an index."""

NOT_CODE = shutil.ignore_patterns("__pycache__", ".*", "*.pyc", "node_modules")

NAME = re.compile(r"^[A-Za-z0-9._-]+")


def stage_files(manifest: Path, target: Path, *, more: Sequence[Path] = ()) -> list[Path]:
    """Copy this package and the project of `manifest` into `target`. Returns the `code_paths` for MLflow.

    The copy has the manifest, the folder of each graph, the folders in `dependencies`, and `more`. For a dependency on
    the project's own folder (`.`) it has only the Python files directly in it.

    Raises:
        GraphNotLoaded: the manifest cannot be read.
        ConfigurationError: a graph is outside the manifest's folder, or a file is too large or looks like a secret.
    """
    root = manifest.resolve().parent
    project = target / FOLDER
    project.mkdir(parents=True)
    shutil.copyfile(manifest, project / MANIFEST)
    # Not `resolve()`: a link must stay a link until `_refuse_links` has seen it.
    for path in sorted({*_wanted(read_manifest(manifest), root), *(Path(os.path.abspath(one)) for one in more)}):
        _copy(path, root, project)
    _refuse_secrets(project, Allowed.of(root))
    shutil.copytree(Path(__file__).parent.parent, target / "graph_agent", ignore=NOT_CODE)
    return [target / "graph_agent", project]


def _wanted(specs: Iterable[GraphSpec], root: Path) -> set[Path]:
    folders = {folder for spec in specs for folder in (spec.path.parent, *spec.folders)}
    return {*(folders - {root}), *(root.glob("*.py") if root in folders else ())}


def _copy(path: Path, root: Path, project: Path) -> None:
    if not path.is_relative_to(root):
        raise ConfigurationError(
            f"{path.name} is outside the folder of {MANIFEST}; move it there, because a model contains only that folder"
        )
    _refuse_links(path, root)
    large = [one.name for one in _files(path) if one.stat().st_size > LARGEST_FILE]
    if large:
        raise ConfigurationError(
            f"over {LARGEST_FILE // 1_000_000} MB: {', '.join(large)}; keep data in a table, a volume or an index"
        )
    there = project / path.relative_to(root)
    if path.is_dir():
        shutil.copytree(path, there, ignore=NOT_CODE, dirs_exist_ok=True)
    else:
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)


def _refuse_links(path: Path, root: Path) -> None:
    """Refuse links that point out of the project: the copy would contain their targets, which nobody chose to log."""
    out = [one for one in _links(path) if not one.resolve().is_relative_to(root)]
    if out:
        raise ConfigurationError(
            f"these links point out of the folder of {MANIFEST}: "
            f"{', '.join(sorted(one.relative_to(root).as_posix() for one in out))}; replace them with the files"
        )


def _links(path: Path) -> Iterator[Path]:
    if path.is_symlink():
        yield path
    for folder, folders, files in os.walk(path):
        left_out = NOT_CODE(folder, [*folders, *files])
        folders[:] = [one for one in folders if one not in left_out]
        yield from (one for name in (*folders, *files) if (one := Path(folder, name)).is_symlink())


def _refuse_secrets(project: Path, allowed: Allowed) -> None:
    """Search the copy for secrets. It has exactly what the model would contain, including the targets of links."""
    with with_hidden_values(secrets_of(os.environ)):
        named = ((one.relative_to(project).as_posix(), one) for one in _files(project))
        found = sorted((name, what) for name, one in named if (what := find_secret(name, one.read_bytes(), allowed)))
    if found:
        raise ConfigurationError(
            f"these look like secrets and are not logged with a model: {describe_secrets(found)};"
            " move them out of the graphs' folders, and replace secrets that were shared; if one is not a secret, name"
            f" it in {ALLOWING}"
        )


def _files(path: Path) -> Iterable[Path]:
    return (one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def requirements(manifest: Path, *, more: Sequence[str] = ()) -> list[str]:
    """The packages of a model's environment: the direct dependencies of this package, those of the manifest, and
    `more`. The former are pinned to the versions that are installed here.

    Raises:
        ConfigurationError: this package is not installed, so its dependencies are unknown.
    """
    try:
        own = metadata.requires("graph-agent") or []
    except metadata.PackageNotFoundError:
        raise ConfigurationError(
            "graph-agent runs from a folder and is not installed; install it first: pip install FOLDER"
        ) from None
    named = [one for one in own if "extra ==" not in one]
    named += [one for one in _dependencies(manifest) if not (manifest.parent / one).exists()]
    return sorted({_pinned(one) for one in named} | set(more))


def _dependencies(manifest: Path) -> list[str]:
    read: Any = json.loads(manifest.read_text(encoding="utf-8"))
    return [one for one in read.get("dependencies", []) if isinstance(one, str)]


def _pinned(requirement: str) -> str:
    found = NAME.match(requirement)
    try:
        return f"{found[0]}=={metadata.version(found[0])}" if found else requirement
    except metadata.PackageNotFoundError:
        # Not installed here, so there is no version to pin.
        return requirement

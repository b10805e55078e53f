"""The files and packages a logged model needs: this package, the graphs, and what they import."""

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
"""Where the project lies in a logged model, beside this package."""

MANIFEST = "langgraph.json"

LARGEST_FILE = 10_000_000
"""Bytes; what is larger is data, and belongs into a table, a volume or an index."""

NOT_CODE = shutil.ignore_patterns("__pycache__", ".*", "*.pyc", "node_modules")

NAME = re.compile(r"^[A-Za-z0-9._-]+")


def stage_files(manifest: Path, target: Path, *, more: Sequence[Path] = ()) -> list[Path]:
    """Copy this package and the project of `manifest` into `target`; what to give MLflow as `code_paths`.

    Of the project: the manifest, the folder of each graph, the folders its `dependencies` name, and `more`. A
    dependency on the project's own folder (`.`) takes its Python files along, and nothing else that lies there.

    Raises:
        GraphNotLoaded: the manifest cannot be read.
        ConfigurationError: a graph lies outside the manifest's folder, or a file is too large or looks like a secret.
    """
    root = manifest.resolve().parent
    project = target / FOLDER
    project.mkdir(parents=True)
    shutil.copyfile(manifest, project / MANIFEST)
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
            f"{path.name} lies outside the folder of {MANIFEST}; a model takes along what is in it: move it there"
        )
    _refuse_links(path, root)
    large = [one.name for one in _files(path) if one.stat().st_size > LARGEST_FILE]
    if large:
        raise ConfigurationError(
            f"{', '.join(large)} is over {LARGEST_FILE // 1_000_000} MB; keep data in a table, a volume or an index"
        )
    there = project / path.relative_to(root)
    if path.is_dir():
        shutil.copytree(path, there, ignore=NOT_CODE, dirs_exist_ok=True)
    else:
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)


def _refuse_links(path: Path, root: Path) -> None:
    """A copy has what a link leads to; outside of the project that was not meant to be taken along."""
    out = [one for one in _links(path) if not one.resolve().is_relative_to(root)]
    if out:
        raise ConfigurationError(
            f"these links lead out of the folder of {MANIFEST}: "
            f"{', '.join(sorted(one.relative_to(root).as_posix() for one in out))}; put the files themselves there"
        )


def _links(path: Path) -> Iterator[Path]:
    if path.is_symlink():
        yield path
    for folder, folders, files in os.walk(path):
        left_out = NOT_CODE(folder, [*folders, *files])
        folders[:] = [one for one in folders if one not in left_out]
        yield from (one for name in (*folders, *files) if (one := Path(folder, name)).is_symlink())


def _refuse_secrets(project: Path, allowed: Allowed) -> None:
    """Of the copy, for it holds what the model would: what links point to included, what is left out not."""
    with with_hidden_values(secrets_of(os.environ)):
        named = ((one.relative_to(project).as_posix(), one) for one in _files(project))
        found = sorted((name, what) for name, one in named if (what := find_secret(name, one.read_bytes(), allowed)))
    if found:
        raise ConfigurationError(
            f"these look like secrets and are not logged with a model: {describe_secrets(found)};"
            " move them out of the folders that the model takes along, and renew those that were shared; what is none"
            f" may be named in {ALLOWING}"
        )


def _files(path: Path) -> Iterable[Path]:
    return (one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]


def requirements(manifest: Path, *, more: Sequence[str] = ()) -> list[str]:
    """What a model's environment installs: the direct dependencies of this package, those the manifest names, and
    `more`, each pinned to the version that is installed here.

    Raises:
        ConfigurationError: this package's own list cannot be found.
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
        return requirement

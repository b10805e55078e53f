"""The indexes of this machine by name: one SQLite file each, in one folder of the cache."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock

from graph_agent.errors import IndexUnavailable, LocalWorkspaceError
from graph_agent.local.index.embedder import Embedder
from graph_agent.local.index.index import Index

DOCUMENTATION_INDEX = "main.docs.project"
"""Holds the project's own documentation, and by itself nothing else. Every project has one of this name."""

OWN_INDEX = "main.docs.own"
"""Where documents of one's own go that are given no name."""

NAME = re.compile(r"[A-Za-z0-9_-]{1,80}+(?:\.[A-Za-z0-9_-]{1,80}+){2}")
SUFFIX = ".sqlite"


def checked_name(name: str) -> str:
    """A name as Databricks has them. Raises `LocalWorkspaceError` for any other."""
    if not NAME.fullmatch(name):
        raise LocalWorkspaceError(
            f"{name!r} is no index name: it takes catalog.schema.index, in letters, digits, _ and -, "
            "such as main.shop.policy"
        )
    return name


def index_file(cache_dir: Path, name: str, project: Path) -> Path:
    """The file of the index of that name. `project` is the folder of `langgraph.json`: the documentation of one project
    is not searched by another's graphs. Raises `LocalWorkspaceError` for what is no name."""
    folder = cache_dir / "indexes"
    if name == DOCUMENTATION_INDEX:
        folder = folder / "projects" / hashlib.sha256(os.fsencode(project.resolve())).hexdigest()[:16]
    return folder / f"{checked_name(name)}{SUFFIX}"


def index_names(cache_dir: Path, project: Path) -> list[str]:
    """The names of all indexes there are."""
    files = (cache_dir / "indexes").glob(f"*{SUFFIX}")
    found = {name for file in files if NAME.fullmatch(name := file.name.removesuffix(SUFFIX))}
    own = {DOCUMENTATION_INDEX} if index_file(cache_dir, DOCUMENTATION_INDEX, project).is_file() else set()
    return sorted((found - {DOCUMENTATION_INDEX}) | own)


class LocalIndexes(Mapping[str, Index]):
    """Every index of the cache folder, opened when first asked for, also one that is made later. Close it."""

    def __init__(self, cache_dir: Path, embedder: Embedder, *, project: Path) -> None:
        self._cache_dir = cache_dir
        self._project = project
        self._embedder = embedder
        self._lock = Lock()
        self._open: dict[str, tuple[int, Index]] = {}

    def __getitem__(self, name: str) -> Index:
        if not NAME.fullmatch(name):
            raise KeyError(name)
        with self._lock:
            return self._current(name)

    def _current(self, name: str) -> Index:
        path = index_file(self._cache_dir, name, self._project)
        known = self._open.get(name)
        try:
            number = path.stat().st_ino
        except OSError:
            number = 0
        if known is not None and known[0] == number:
            return known[1]
        if known is not None:
            # Deleted, or deleted and made anew: the open file is the old one.
            self._open.pop(name)[1].close()
        if not number:
            raise KeyError(name)
        try:
            index = Index.open(path, self._embedder, create=False)
        except IndexUnavailable:
            if path.exists():
                raise
            raise KeyError(name) from None
        self._open[name] = number, index
        return index

    def __iter__(self) -> Iterator[str]:
        return iter(index_names(self._cache_dir, self._project))

    def __len__(self) -> int:
        return len(index_names(self._cache_dir, self._project))

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            for _, index in self._open.values():
                index.close()
            self._open.clear()

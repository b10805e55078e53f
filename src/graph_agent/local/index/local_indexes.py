"""The indexes on this machine, by name: one SQLite file each, in one folder of the cache."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock

from graph_agent.errors import IndexUnavailable, LocalWorkspaceError
from graph_agent.local.index.embedder import Embedder
from graph_agent.local.index.index import Index
from graph_agent.local.index.other_languages import OtherLanguages
from graph_agent.settings import project_digest

DOCUMENTATION_INDEX = "main.docs.project"
"""Name of the index of a project's own documentation. Each project has its own index of this name."""

OWN_INDEX = "main.docs.own"
"""Name of the index for documents that are indexed without a name."""

# Possessive quantifiers, so that a long name cannot cause backtracking. Without dots in a part, `..` is impossible.
NAME = re.compile(r"[A-Za-z0-9_-]{1,80}+(?:\.[A-Za-z0-9_-]{1,80}+){2}")
SUFFIX = ".sqlite"


def checked_name(name: str) -> str:
    """The name, if it is a valid index name in Databricks. Raises `LocalWorkspaceError` for any other."""
    if not NAME.fullmatch(name):
        raise LocalWorkspaceError(
            f"{name!r} is not an index name: use catalog.schema.index with letters, digits, _ and -, "
            "such as main.shop.policy"
        )
    return name


def index_file(cache_dir: Path, name: str, project: Path) -> Path:
    """The file of the index with this name. Raises `LocalWorkspaceError` for an invalid name.

    `project` is the folder of `langgraph.json`. The documentation index depends on it, so that graphs never search the
    documentation of another project.
    """
    folder = cache_dir / "indexes"
    if name == DOCUMENTATION_INDEX:
        folder = folder / "projects" / project_digest(project)
    return folder / f"{checked_name(name)}{SUFFIX}"


def index_names(cache_dir: Path, project: Path) -> list[str]:
    """The names of all existing indexes, sorted."""
    files = (cache_dir / "indexes").glob(f"*{SUFFIX}")
    found = {name for file in files if NAME.fullmatch(name := file.name.removesuffix(SUFFIX))}
    own = {DOCUMENTATION_INDEX} if index_file(cache_dir, DOCUMENTATION_INDEX, project).is_file() else set()
    return sorted((found - {DOCUMENTATION_INDEX}) | own)


class LocalIndexes(Mapping[str, Index]):
    """Every index in the cache folder, also those that are created later. An index is opened on first use. Close it."""

    def __init__(
        self, cache_dir: Path, embedder: Embedder, *, project: Path, languages: OtherLanguages | None = None
    ) -> None:
        self._cache_dir = cache_dir
        self._project = project
        self._embedder = embedder
        self._languages = languages
        self._lock = Lock()
        self._open: dict[str, tuple[int, Index]] = {}

    def __getitem__(self, name: str) -> Index:
        if not NAME.fullmatch(name):
            raise KeyError(name)
        with self._lock:
            return self._current(name)

    def _current(self, name: str) -> Index:
        path = index_file(self._cache_dir, name, self._project)
        # The inode tells whether the file is still the one that is open.
        known = self._open.get(name)
        try:
            number = path.stat().st_ino
        except OSError:
            number = 0
        if known is not None and known[0] == number:
            return known[1]
        if known is not None:
            # The file was deleted, and possibly created again. The open index is the old file.
            self._open.pop(name)[1].close()
        if not number:
            raise KeyError(name)
        try:
            index = Index.open(path, self._embedder, create=False, languages=self._languages)
        except IndexUnavailable:
            # The file may have been deleted since the look above. Then there is no such index.
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
        """Close all open indexes."""
        with self._lock:
            for _, index in self._open.values():
                index.close()
            self._open.clear()

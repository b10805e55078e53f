"""Modules in the folder of a graph's file. Each graph gets its own copies; a host app keeps what it has imported."""

import sys
import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from graph_agent.errors import GraphNotLoaded
from graph_agent.foreign_errors import installed_folders

GRAPHS = "graph_agent_graphs."
"""The prefix of the module names under which graph files are loaded."""

WAIT_SECONDS = 120.0
"""How long a graph waits while another graph is loaded. It is limited because of a possible deadlock: a graph's file
may load the graphs of another app in a thread and wait for them."""

MOST_FILES = 20_000
"""How many modules' folders are remembered. A process with all the libraries has some 5,000 modules."""

_LOADING = threading.Lock()
_FOLDERS: set[str] = set()
"""The folders of the graphs of every app in the process."""


class _FromSource(SourceFileLoader):
    """Compiles a module each time. Python's bytecode files compare whole seconds and sizes, and edits can be faster."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module as its file is now."""
        return self.source_to_code(self.get_data(self.path), self.path)


@contextmanager
def with_own_modules(folder: Path, graph_folders: Set[Path]) -> Iterator[None]:
    """Within this context, imports from the graph's folder execute new modules instead of reusing another graph's.

    Modules that the process had before it loaded its first graph belong to the host app. Those in the graph's folder
    are shared with the graph. Those from other folders that have the name of a file in the graph's folder are set aside
    and restored at the end. Only one graph of the process is loaded at a time, because `sys.path` and `sys.modules`
    are the same for all threads.

    Raises:
        GraphNotLoaded: another graph was still loading after `WAIT_SECONDS`.
    """
    if not _LOADING.acquire(timeout=WAIT_SECONDS):
        message = f"another graph of this process was still loading after {WAIT_SECONDS:g} s: load it first"
        raise GraphNotLoaded(message)
    try:
        _FOLDERS.update(map(str, graph_folders))
        with _found_in(folder):
            yield
    finally:
        _LOADING.release()


@contextmanager
def _found_in(folder: Path) -> Iterator[None]:
    # In first place, before the folders of other graphs: they may have a module with the same name.
    sys.path[:] = [str(folder), *(one for one in sys.path if one != str(folder))]
    # It stays, because a node may import later what is in the folder. Graphs that are loaded later get a new one, which
    # sees files that were added since.
    sys.path_importer_cache[str(folder)] = FileFinder(
        str(folder), (ExtensionFileLoader, EXTENSION_SUFFIXES), (_FromSource, SOURCE_SUFFIXES)
    )
    names = {path.stem for path in folder.glob("*.py")}
    host, aside = _host_modules(), {}
    # `copy` is atomic. Iterating over `sys.modules` fails when another thread imports a module meanwhile.
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if not file or name.startswith(GRAPHS):
            continue
        home = _home(file)
        if id(module) in host:
            if name in names and home != str(folder):
                aside[name] = sys.modules.pop(name)
        elif home == str(folder) or (name in names and home in _FOLDERS):
            del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(aside)


@lru_cache(MOST_FILES)
def _home(file: str) -> str:
    """The folder of a module's file."""
    # Remembered, because making the paths of all modules of a process takes longer than loading a graph.
    return str(Path(file).parent)


@cache
def _host_modules() -> dict[int, Any]:
    """The host's modules by identity, since an entry of `sys.modules` need not be hashable, nor a module."""
    # Cached at the first call, before any graph is loaded. Later, the host's modules and those that graphs import late
    # look the same. Keeping the objects also keeps their ids from being reused.
    installed = installed_folders()
    every = sys.modules.copy().values()
    return {
        id(one): one for one in every if (file := getattr(one, "__file__", None)) and not file.startswith(installed)
    }

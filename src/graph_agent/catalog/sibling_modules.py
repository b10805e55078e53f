"""Modules beside a graph's file: each graph gets its own, and a host app keeps those that it has imported."""

import sys
import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from graph_agent.errors import GraphNotLoaded
from graph_agent.foreign_errors import installed_folders

GRAPHS = "graph_agent_graphs."
"""What the names begin with under which graph files themselves are loaded."""

WAIT_SECONDS = 120.0
"""How long a graph waits while another one is loaded. Not for ever: a graph's file may load another app's graphs in a
thread and wait for them."""

_LOADING = threading.Lock()
_FOLDERS: set[Path] = set()
"""Folders of graphs of every app in the process."""


@contextmanager
def with_own_modules(folder: Path, graph_folders: Set[Path]) -> Iterator[None]:
    """Within it, what a graph imports from its own folder is executed afresh, and not taken from another graph's.

    Modules that the process had before it loaded its first graph are a host app's. Those in the graph's folder are
    shared with the graph, as Python has one module of a file. Those elsewhere that have a name of the graph's folder
    are set aside, and are back at the end. One graph of the process is loaded at a time: where modules are found
    is the same for all threads.

    Raises:
        GraphNotLoaded: another graph has been loading for too long.
    """
    if not _LOADING.acquire(timeout=WAIT_SECONDS):
        raise GraphNotLoaded(f"another graph of this process was still loading after {WAIT_SECONDS:g} s: load it first")
    try:
        _FOLDERS.update(graph_folders)
        with _found_in(folder):
            yield
    finally:
        _LOADING.release()


@contextmanager
def _found_in(folder: Path) -> Iterator[None]:
    # First, also where another graph's folder went before it: both may have a module of one name.
    sys.path[:] = [str(folder), *(one for one in sys.path if one != str(folder))]
    names = {path.stem for path in folder.glob("*.py")}
    host, aside = _host_modules(), {}
    # Copied whole: threads that import change it, and making a list of it may let them.
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if not file or name.startswith(GRAPHS):
            continue
        home = Path(file).parent
        if id(module) in host:
            if name in names and home != folder:
                aside[name] = sys.modules.pop(name)
        elif home == folder or (name in names and home in _FOLDERS):
            del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(aside)


@cache
def _host_modules() -> dict[int, Any]:
    """By their identity: what stands in `sys.modules` need not be hashable, nor a module."""
    # At the first call, when no graph is loaded yet: later ones cannot be told from those that graphs import late.
    installed = installed_folders()
    every = sys.modules.copy().values()
    return {
        id(one): one for one in every if (file := getattr(one, "__file__", None)) and not file.startswith(installed)
    }

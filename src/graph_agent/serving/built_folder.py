"""What a build has left in a folder: read on first use, and again after the next build."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from graph_agent.foreign_errors import describe_error

T = TypeVar("T")

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
"""The file that a build writes last. Its time tells one build from the next."""


def is_built(folder: Path) -> bool:
    """Whether a build has left something in the folder."""
    return (folder / MANIFEST).is_file()


class BuiltFolder(Generic[T]):
    """What `load` makes of a folder. It is loaded on first use, and again after the next build if `reload` is set.

    `name` is what the log calls it when it cannot be read.
    """

    def __init__(self, folder: Path, load: Callable[[Path], T], *, name: str, reload: bool = False) -> None:
        self._folder = folder
        self._load = load
        self._name = name
        self._reload = reload
        self._lock = threading.Lock()
        self._made: int | None = None
        self._loaded: T | None = None

    @property
    def kept(self) -> T | None:
        """What was loaded, if it does not change any more."""
        return None if self._reload else self._loaded

    def read(self) -> T | None:
        """What the last build left, or `None` if there is none that can be read. Call it in a thread."""
        with self._lock:
            try:
                made = (self._folder / MANIFEST).stat().st_mtime_ns
            except OSError:
                self._loaded = None
                return None
            if self._loaded is None or self._made != made:
                try:
                    self._loaded, self._made = self._load(self._folder), made
                except Exception as error:  # noqa: BLE001 - a build may end or fail at any moment
                    logger.error("%s cannot be read; build it again: %s", self._name, describe_error(error))
                    self._loaded = None
            return self._loaded

"""Keeps on disk what llama.cpp made of the beginnings of prompts, so that a start need not read them again."""

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

MOST_FILES = 4
"""Kept states. One of 500 tokens has about 15 MB. The one that was used least recently goes first."""

SHORTEST, LONGEST = 128, 2048
"""Tokens of a beginning that is kept. A shorter one is read quickly, and a longer one takes much of the disk."""


class KeptBeginnings:
    """The files of a private folder. Their names depend on the model, the version of llama.cpp and the tokens.

    A process adds as many as are kept and no more: a graph may put the time into its system prompt, and a new file for
    each request would wear out the disk.
    """

    def __init__(self, folder: Path, model: Path, *, version: str) -> None:
        state = model.stat()
        self._model = f"{model.name} {state.st_size} {state.st_mtime_ns} {version}"
        self._folder = folder
        self._added = 0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)

    def name(self, tokens: Sequence[int]) -> str:
        """The name of the file for a beginning."""
        whole = f"{self._model} {' '.join(map(str, tokens))}"
        return f"{hashlib.sha256(whole.encode()).hexdigest()[:32]}.state"

    def has(self, name: str) -> bool:
        """Whether the file exists."""
        return (self._folder / name).is_file()

    def takes(self, name: str) -> bool:
        """Whether a file that does not exist may be added."""
        return self._added < MOST_FILES and not self.has(name)

    def added(self, name: str) -> None:
        """Note that a file was written or could not be, and remove those that are too many."""
        self._added += 1
        self.used(name)

    def used(self, name: str) -> None:
        """Note that a file was read, and remove those that are too many."""
        with contextlib.suppress(OSError):
            now = time.time_ns()
            os.utime(self._folder / name, ns=(now, now))
            files = sorted(self._folder.glob("*.state"), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in files[MOST_FILES:]:
                path.unlink()

    def remove(self, name: str) -> None:
        """Remove a file that llama.cpp cannot read."""
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()

"""Keeps on disk what llama.cpp made of the beginnings of prompts, so that a start need not read them again."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

MOST_FILES = 4
"""Kept states. One of 500 tokens has about 15 MB. The one that was used least recently goes first."""

SHORTEST, LONGEST = 128, 2048
"""Tokens of a beginning that is kept. A shorter one is read quickly, and a longer one takes much of the disk."""


class KeptBeginnings:
    """The files of a private folder. Their names depend on the model, the version of llama.cpp and the tokens."""

    def __init__(self, folder: Path, model: Path, *, version: str) -> None:
        state = model.stat()
        self._model = f"{model.name} {state.st_size} {state.st_mtime_ns} {version}"
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)

    def name(self, tokens: Sequence[int]) -> str:
        """The name of the file for a beginning."""
        whole = f"{self._model} {' '.join(map(str, tokens))}"
        return f"{hashlib.sha256(whole.encode()).hexdigest()[:32]}.state"

    def has(self, name: str) -> bool:
        """Whether the file exists."""
        return (self._folder / name).is_file()

    def used(self, name: str) -> None:
        """Note that a file was read or written, and remove those that are too many."""
        with contextlib.suppress(OSError):
            os.utime(self._folder / name)
            files = sorted(self._folder.glob("*.state"), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in files[MOST_FILES:]:
                path.unlink()

    def remove(self, name: str) -> None:
        """Remove a file that llama.cpp cannot read."""
        with contextlib.suppress(OSError):
            (self._folder / name).unlink()

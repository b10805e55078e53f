"""The disk of the cache folder: free space, hashes, locks, and explanations of its errors."""

import contextlib
import errno
import fcntl
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from graph_agent.errors import WeightsUnavailable

SPARE_BYTES = 64 << 20
"""Space that must stay free for everything else."""

LOCK_SECONDS = 0.2
"""Interval between two attempts to take a lock."""


def size_of(path: Path) -> int:
    """Size of a file in bytes, or 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def require_space(folder: Path, needed: int) -> None:
    """Raise `WeightsUnavailable` unless `needed` bytes and `SPARE_BYTES` more are free."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise WeightsUnavailable(
            f"the cache folder needs {(needed + SPARE_BYTES) >> 20} MB of free space and has {free >> 20} MB: "
            "free some, or set GRAPH_AGENT_CACHE_DIR to a folder on another disk"
        )


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn the operating system's errors for `folder` into `WeightsUnavailable`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsUnavailable(
                f"the disk of the cache folder {folder} is full: free some space and start again"
            ) from error
        cause = (error.strerror or type(error).__name__).lower()
        raise WeightsUnavailable(
            f"the cache folder {folder} cannot be used ({cause}): set GRAPH_AGENT_CACHE_DIR to another folder"
        ) from error


@contextlib.contextmanager
def file_lock(path: Path, *, while_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`. Waits while another process holds it. The system releases it when the process ends."""
    with path.open("w") as lock:
        # Polled and not blocking, so that the progress of the other process can be shown.
        while not _locked(lock.fileno()):
            while_waiting()
            time.sleep(LOCK_SECONDS)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

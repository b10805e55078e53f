"""The cache folder's disk: space, hashes, locks, and its errors in our words."""

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
LOCK_SECONDS = 0.2


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def require_space(folder: Path, needed: int) -> None:
    """Raise WeightsUnavailable unless `needed` bytes and a little more are free."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise WeightsUnavailable(
            f"the cache folder needs {(needed + SPARE_BYTES) >> 20} MB of free space and has {free >> 20} MB: "
            "free some, or set GRAPH_AGENT_CACHE_DIR to a folder on another disk"
        )


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the operating system raises for `folder` into WeightsUnavailable."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsUnavailable(
                f"the disk of the cache folder {folder} is full: free some space and start again"
            ) from error
        cause = (error.strerror or type(error).__name__).lower()
        raise WeightsUnavailable(
            f"the cache folder {folder} cannot be used ({cause}): set GRAPH_AGENT_CACHE_DIR"
        ) from error


@contextlib.contextmanager
def file_lock(path: Path, *, while_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock `path`, which the system lets go when its holder dies; wait for it as long as another holds it."""
    with path.open("w") as lock:
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

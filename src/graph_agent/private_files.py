"""Files that hold words of users: for their owner's eyes alone, whatever the process's umask."""

import contextlib
import os
import stat
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO

BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite calls a database and the files that it keeps beside it; new ones get the database's own mode."""


def make_private(path: Path) -> None:
    """Let only the owner read and write the file, made now if there is none, and what SQLite keeps beside it.

    A file of somebody else is left as it is.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for ending in BESIDE:
        with contextlib.suppress(OSError):
            one = path.with_name(path.name + ending)
            mode = one.stat().st_mode
            if mode & OTHERS:
                one.chmod(stat.S_IMODE(mode) & ~OTHERS)

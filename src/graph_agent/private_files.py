"""Files that hold the words of users. Only their owner may read them, whatever the umask of the process."""

import contextlib
import os
import stat
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO

BESIDE = ("", "-wal", "-shm", "-journal")
"""The suffixes of an SQLite database and of the files that SQLite creates next to it, with the database's mode."""


def make_private(path: Path) -> None:
    """Let only the owner read and write the file and the files that SQLite keeps next to it. Creates a missing file.

    A file that belongs to another user is left as it is.
    """
    # Created here, with the mode: between a creation with the umask's mode and a `chmod`, others could open it. A file
    # that exists is not opened: closing it would drop every lock of this process on it, and SQLite would not know.
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for ending in BESIDE:
        with contextlib.suppress(OSError):
            one = path.with_name(path.name + ending)
            mode = one.stat().st_mode
            if mode & OTHERS:
                one.chmod(stat.S_IMODE(mode) & ~OTHERS)

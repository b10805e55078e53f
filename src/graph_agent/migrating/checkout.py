"""The files of a foreign project: read within limits, without following links."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graph_agent.errors import ProjectNotRead
from graph_agent.migrating.findings import Finding
from graph_agent.printable import one_line

MOST_FILES = 2_000
"""Python files of a checkout. Folders of packages and of the chat page are not counted, because they are not read."""

MOST_ENTRIES = 50_000
"""Entries of all folders together that are looked at."""

MOST_BYTES = 512 * 1024
"""The largest file that is read."""

MOST_BYTES_IN_ALL = 16 * 1024 * 1024

DEEPEST = 12
"""Folders within folders."""

CONFIGURATION = ("databricks.yml", "app.yaml", "app.yml", ".env", ".env.example", "pyproject.toml")
"""Files of the checkout's own folder that are read besides Python files."""

NOT_READ = ("node_modules", "__pycache__", "venv", "site-packages", "build", "dist", "mlruns")


@dataclass(frozen=True, slots=True)
class Checkout:
    """The texts of a project by path, with `/` as the separator."""

    folder: Path
    python: Mapping[str, str]
    configuration: Mapping[str, str]
    others: Sequence[str] = ()
    """Paths of other files. They are not read."""

    left: list[Finding] = field(default_factory=list)
    """Files that could not be read."""


def read_checkout(folder: Path) -> Checkout:
    """Read the Python files of a project and the files of its configuration.

    Links are not followed, hidden folders and those of installed packages are left out, and what is too large to be
    source code is reported as left.

    Raises:
        ProjectNotRead: `folder` is not a folder, cannot be read, or has too many files.
    """
    name = one_line(str(folder))
    if not folder.is_dir():
        raise ProjectNotRead(f"{name} is not a folder; give --from the folder of the checkout")
    left: list[Finding] = []
    python: dict[str, str] = {}
    configuration: dict[str, str] = {}
    others: list[str] = []
    total = 0
    try:
        for path in _files(folder, left):
            if not _is_wanted(path):
                others.append(path)
                continue
            if (text := _text(folder / path, path, left)) is None:
                continue
            total += len(text)
            if len(python) >= MOST_FILES or total > MOST_BYTES_IN_ALL:
                raise ProjectNotRead(
                    f"{name} is too large: at most {MOST_FILES} Python files and {MOST_BYTES_IN_ALL >> 20} MB are read;"
                    " copy the agent's own files to a folder of their own, and give that"
                )
            (python if path.endswith(".py") else configuration)[path] = text
    except OSError as error:
        raise ProjectNotRead(f"{name} cannot be read ({type(error).__name__}); check its permissions") from None
    return Checkout(folder, python, configuration, others, left)


def _is_wanted(path: str) -> bool:
    return path.endswith(".py") or path in CONFIGURATION


def _files(folder: Path, left: list[Finding]) -> Iterator[str]:
    """The paths of the files, in a fixed order."""
    waiting, seen = [("", 0)], 0
    while waiting:
        below, depth = waiting.pop()
        with os.scandir(folder / below) as entries:
            found = []
            for entry in entries:
                seen += 1
                if seen > MOST_ENTRIES:
                    raise ProjectNotRead(
                        f"{one_line(str(folder))} has more than {MOST_ENTRIES:,} entries; give --from the folder of one"
                        " project"
                    )
                found.append(entry)
        for entry in sorted(found, key=lambda one: one.name):
            path = f"{below}{entry.name}"
            if entry.is_symlink():
                if _is_wanted(path):
                    left.append(Finding(path, 0, "a link, which is not followed", "put the file itself in its place"))
            elif entry.is_dir(follow_symlinks=False):
                if depth < DEEPEST and not _is_foreign(folder / path):
                    waiting.append((f"{path}/", depth + 1))
            elif entry.is_file(follow_symlinks=False):
                yield path


def _is_foreign(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in NOT_READ or (folder / "pyvenv.cfg").exists()


def _text(file: Path, path: str, left: list[Finding]) -> str | None:
    # The file may have been replaced by a link or a pipe since it was listed.
    opened = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(opened, "rb") as stream:
        content = stream.read(MOST_BYTES + 1) if stat.S_ISREG(os.fstat(opened).st_mode) else b""
    if len(content) > MOST_BYTES:
        left.append(Finding(path, 0, f"larger than {MOST_BYTES >> 10} KB", "split it, or copy by hand what you need"))
        return None
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        left.append(Finding(path, 0, "not in UTF-8", "save it as UTF-8, and run the command again"))
        return None

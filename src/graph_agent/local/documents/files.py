"""Finds the documents under files and folders.

Files are skipped only by rule (`SKIPPED_FOLDERS`, hidden names, links to folders, other suffixes), and the skipped ones
are counted. Every other file is either read or reported as `Unreadable`.
"""

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from graph_agent.local.documents.formats import SUFFIXES
from graph_agent.local.documents.sections import UnreadableDocument

SKIPPED_FOLDERS = frozenset({"node_modules", "venv", "__pycache__", "site-packages"})
"""Folders of installed packages. Their documents are not the user's."""

MAX_FILE_BYTES = 10_000_000
"""A whole document is held in memory, in two processes for some formats."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index. `uri` is its path relative to the parent of the indexed root, such as `docs/settings.md`."""

    path: Path
    uri: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder that could not be indexed, and the reason, in words for the user."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FileNote:
    """A file that was indexed, and a note for the user about the parts of it that were not."""

    path: str
    note: str


@dataclass(slots=True)
class Skipped:
    """Counts of what was skipped by rule."""

    hidden_folders: int = 0
    hidden_files: int = 0
    linked_folders: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    """Number of files of other kinds, by suffix."""

    def __bool__(self) -> bool:
        return bool(self.hidden_folders or self.hidden_files or self.linked_folders or self.suffixes)


@dataclass(slots=True)
class Survey:
    """What is under the roots: documents ordered by path, problems, and counts of what was skipped."""

    sources: list[SourceFile] = field(default_factory=list)
    problems: list[Unreadable] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)


def find_documents(roots: Iterable[str | os.PathLike[str]]) -> tuple[list[SourceFile], list[Unreadable]]:
    """The documents under the given files and folders, each once, and what could not be opened."""
    found = survey(roots)
    return found.sources, found.problems


def survey(roots: Iterable[str | os.PathLike[str]], *, hidden: bool = False) -> Survey:
    """Search files and folders. `hidden` says whether to include hidden ones."""
    return Finder(hidden=hidden).find(roots)


def absolute(root: str | os.PathLike[str]) -> Path:
    """The root's absolute path, with links resolved if they can be."""
    path = Path(os.path.abspath(Path(root).expanduser()))
    try:
        return path.resolve()
    # A link to itself. A link to a missing file does resolve.
    except (OSError, RuntimeError):
        return path


class Finder:
    """One search through some roots."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden
        self._survey = Survey()
        # Device and inode: the same folder can be reached through overlapping roots and through bind mounts.
        self._seen: set[tuple[int, int]] = set()

    def find(self, roots: Iterable[str | os.PathLike[str]]) -> Survey:
        found: dict[Path, SourceFile] = {}
        for root in map(absolute, roots):
            for path in self._under(root):
                if (uri := self._uri(path, root)) is not None:
                    found.setdefault(path, SourceFile(path, uri))
        self._survey.sources = [found[path] for path in sorted(found)]
        return self._survey

    def _uri(self, path: Path, root: Path) -> str | None:
        # macOS stores file names decomposed (NFD). The same file must get the same URI on every system.
        uri = unicodedata.normalize("NFC", path.relative_to(root.parent).as_posix())
        if uri.isprintable():
            return uri
        self._refuse(printable(path), "its name contains bytes or characters that cannot be displayed; rename it")
        return None

    def _under(self, root: Path) -> Iterator[Path]:
        try:
            is_folder = stat.S_ISDIR(root.stat().st_mode)
        except (OSError, ValueError) as error:
            self._refuse(printable(root), reason_of(error))
            return
        if not is_folder:
            yield root
            return
        # A list of pending folders and no recursion, because a tree may be deeper than Python's stack.
        folders = [root]
        while folders:
            entries = self._entries(folders.pop())
            yield from (
                Path(entry.path) for entry in entries if not is_folder_entry(entry) and self._is_document(entry)
            )
            # Reversed, because the last one is popped first: folders are searched in the order of their names.
            inner = [entry.path for entry in entries if is_folder_entry(entry) and not self._is_skipped(entry)]
            folders += [Path(path) for path in reversed(inner)]

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in self._seen and not folder.is_symlink():
                return []
            self._seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._refuse(printable(folder), reason_of(error))
            return []
        # Every Python virtual environment has this file, whatever its folder is called.
        return [] if any(entry.name == "pyvenv.cfg" for entry in found) else found

    def _is_skipped(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink():
            self._survey.skipped.linked_folders += 1
            return True
        if entry.name.startswith(".") and not self._hidden:
            self._survey.skipped.hidden_folders += 1
            return True
        return entry.name in SKIPPED_FOLDERS

    def _is_document(self, entry: os.DirEntry[str]) -> bool:
        suffix = os.path.splitext(entry.name)[1].lower()
        if entry.name.startswith(".") and not self._hidden:
            self._survey.skipped.hidden_files += suffix in SUFFIXES
            return False
        if suffix not in SUFFIXES:
            self._survey.skipped.suffixes[printable(suffix)] += 1
        return suffix in SUFFIXES

    def _refuse(self, path: str, reason: str) -> None:
        self._survey.problems.append(Unreadable(path, reason))


def is_folder_entry(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def printable(path: str | os.PathLike[str]) -> str:
    """A path that is safe to display: invalid UTF-8 and unprintable characters become question marks."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)


def reason_of(error: OSError | ValueError) -> str:
    """The operating system's description of the error, in lower case."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return (strerror or "it could not be opened").lower()


def read_document(source: SourceFile) -> bytes:
    """The file's bytes. Raises `UnreadableDocument` if it is too large, not a regular file, or not accessible."""
    try:
        # O_NONBLOCK, because opening a named pipe without a writer would block forever.
        with open(os.open(source.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableDocument("it is not a regular file")
            # One byte more than allowed tells a file that is too large, also one that grows while it is read.
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        if not source.path.is_file() and os.path.lexists(source.path):
            raise UnreadableDocument("it is not a regular file") from error
        raise UnreadableDocument(reason_of(error)) from error
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableDocument(f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB")
    return data

"""Files and folders of Markdown, text, HTML and PDF as chunks for the index.

Read before writing: what is skipped is skipped by rule (`SKIPPED_FOLDERS`, hidden names, other suffixes);
everything else either becomes chunks or is reported as `Unreadable`.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from graph_agent.local.passages import heading_line, passages
from graph_agent.local.sections import UnreadableDocument, read_sections

CHUNKING_VERSION = "1"
"""Goes up with every change of chunking, so that indexes are made anew."""

SUFFIXES = frozenset({".md", ".markdown", ".txt", ".text", ".rst", ".html", ".htm", ".pdf"})
SKIPPED_FOLDERS = frozenset({"node_modules", "venv", "__pycache__", "site-packages"})
MAX_FILE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document; the first line of `text` is its heading path, so that it stands alone."""

    chunk_id: str
    doc_uri: str
    title: str
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index. `uri` is its path from the parent of the indexed root, `docs/settings.md`."""

    path: Path
    uri: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder that could not be indexed, and why, in words for its owner."""

    path: str
    reason: str


def find_documents(roots: Iterable[str | os.PathLike[str]]) -> tuple[list[SourceFile], list[Unreadable]]:
    """The documents under the given files and folders, each once, in the order of their paths."""
    found: dict[Path, SourceFile] = {}
    problems: list[Unreadable] = []
    for root in (Path(root).expanduser().resolve() for root in roots):
        for path in files_under(root, problems):
            found.setdefault(path, SourceFile(path, path.relative_to(root.parent).as_posix()))
    return [found[path] for path in sorted(found)], problems


def files_under(root: Path, problems: list[Unreadable]) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, subfolders, names in os.walk(root, onerror=lambda error: problems.append(refused(error))):
        subfolders[:] = sorted(name for name in subfolders if not is_skipped(Path(folder, name)))
        yield from (Path(folder, name) for name in sorted(names) if is_document(Path(folder, name)))


def is_skipped(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in SKIPPED_FOLDERS or (folder / "pyvenv.cfg").exists()


def is_document(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in SUFFIXES and not path.is_dir()


def refused(error: OSError) -> Unreadable:
    return Unreadable(str(error.filename), (error.strerror or "it could not be opened").lower())


def read_document(source: SourceFile) -> bytes:
    """The file's bytes. Raises `UnreadableDocument` where it is too large, no plain file, or may not be read."""
    try:
        if not source.path.is_file():
            raise UnreadableDocument("it is not a plain file")
        if source.path.stat().st_size > MAX_FILE_BYTES:
            raise UnreadableDocument(f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB")
        return source.path.read_bytes()
    except OSError as error:
        raise UnreadableDocument(refused(error).reason) from error


def chunks_of(source: SourceFile, data: bytes) -> list[Chunk]:
    """The document as chunks in reading order. Raises `UnreadableDocument`."""
    chunks: list[Chunk] = []
    for section in read_sections(source.path.name, data):
        title = heading_line(section.path)
        uri = f"{source.uri}#{section.anchor}" if section.anchor else source.uri
        for passage in passages(section):
            position = len(chunks)
            chunks.append(Chunk(chunk_id(source.uri, position), uri, title, f"{title}\n\n{passage}", position))
    return chunks


def chunk_id(uri: str, position: int) -> str:
    return hashlib.sha256(f"{uri}\n{position}".encode()).hexdigest()[:16]


def read_folder(roots: Sequence[str | os.PathLike[str]]) -> tuple[list[Chunk], list[Unreadable]]:
    """Every chunk under the roots, and what could not be read."""
    sources, problems = find_documents(roots)
    chunks: list[Chunk] = []
    for source in sources:
        try:
            chunks += chunks_of(source, read_document(source))
        except UnreadableDocument as error:
            problems.append(Unreadable(str(source.path), str(error)))
    return chunks, problems

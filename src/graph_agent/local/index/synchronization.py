"""Synchronizes an index with folders: only new and changed files are read, one at a time."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graph_agent.local.documents.chunks import CHUNKING_VERSION, Chunk
from graph_agent.local.documents.files import (
    FileNote,
    Skipped,
    SourceFile,
    Unreadable,
    absolute,
    read_document,
    survey,
)
from graph_agent.local.documents.reader_process import DocumentReader
from graph_agent.local.documents.sections import EmptyDocument, UnreadableDocument
from graph_agent.local.index.embedder import Embedder, Vector, Vectors
from graph_agent.local.index.other_languages import OtherLanguages, SmallVectors, small
from graph_agent.local.index.store import IndexedFile, IndexStore

PASSAGES_PER_STEP = 32
"""Passages embedded between two progress reports, which takes about a second."""

MOST_RECENT = 20_000
"""Passages whose vectors one pass keeps for copies: 41 MB with both."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of an indexing: files done, total files, the URI of the current file, its passages embedded so far."""

    done: int
    total: int
    uri: str
    passages: int
    share: float
    """The share of all bytes that is done, 0 to 1. Files differ in size: their number does not tell the time left."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The result of an indexing, as document URIs.

    `unreadable` lists the files that could not be indexed, with the reason. `notes` lists files read in this indexing
    that are in the index only in part.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    skipped: Skipped = field(default_factory=Skipped)
    notes: tuple[FileNote, ...] = ()


Paths = Sequence[str | os.PathLike[str]]
OnProgress = Callable[[Progress], None]
SmallVector = NDArray[np.int8]
OnPassages = Callable[[int, float], None]
"""Gets the number of passages of a file that are embedded, and their share."""


class Synchronization:
    """One pass over the given roots.

    After an interruption at any point, the index has each file either as it was before or as it is now.
    """

    def __init__(
        self,
        store: IndexStore,
        embedder: Embedder,
        on_progress: OnProgress,
        reader: DocumentReader,
        *,
        hidden: bool,
        languages: OtherLanguages | None = None,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._on_progress = on_progress
        self._reader = reader
        self._languages = languages
        self._hidden = hidden
        self._known = store.files()
        self._path_of = {file.uri: file.path for file in self._known.values()}
        self._added: list[str] = []
        self._changed: list[str] = []
        self._removed: list[str] = []
        self._gone: list[str] = []
        self._unchanged: list[str] = []
        self._unreadable: list[Unreadable] = []
        self._notes: list[FileNote] = []
        self._recent: dict[bytes, tuple[Vector, SmallVector | None]] = {}
        """Both vectors of texts of this pass by the digest of the text, the latest last."""

    def run(self, roots: Paths) -> IndexReport:
        found = survey(roots, hidden=self._hidden)
        self._forget_missing([absolute(root) for root in roots], found.sources, found.problems)
        sizes = [size_of(source.path) for source in found.sources]
        total, before = sum(sizes) or 1, 0
        for done, (source, size) in enumerate(zip(found.sources, sizes, strict=True)):
            progress = partial(self._report, done, len(found.sources), source.uri, before / total, size / total)
            progress(0, 0.0)
            self._take(source, progress)
            before += size
        self._complete(len(found.sources))
        self._on_progress(Progress(len(found.sources), len(found.sources), "", 0, 1.0))
        return IndexReport(
            tuple(self._added),
            tuple(self._changed),
            tuple(self._removed),
            tuple(self._unchanged),
            tuple(self._unreadable),
            found.skipped,
            tuple(self._notes),
        )

    def _report(self, done: int, total: int, uri: str, before: float, own: float, passages: int, part: float) -> None:
        """`before` is the share of the files that are done, `own` that of this file, of which `part` is done."""
        self._on_progress(Progress(done, total, uri, passages, before + own * part))

    def _take(self, source: SourceFile, progress: OnPassages) -> None:
        try:
            self._refresh(source, progress)
        except UnreadableDocument as error:
            # A file that cannot be read keeps its last good content in the index. An empty one was emptied on purpose.
            if isinstance(error, EmptyDocument) and str(source.path) in self._known:
                self._forget(self._known[str(source.path)])
            self._unreadable.append(Unreadable(str(source.path), str(error)))

    def _refresh(self, source: SourceFile, progress: OnPassages) -> None:
        data = read_document(source)
        known, current = self._known.get(str(source.path)), self._fingerprint(source, data)
        if known and known.fingerprint == current:
            self._unchanged.append(source.uri)
            return
        self._make_way(source)
        found = self._reader.read(source, data)
        vectors, second = self._vectors(found.chunks, progress)
        # Only now is the index locked for writing: reading and embedding take long, and may fail.
        with self._store.change():
            self._store.remove(str(source.path))
            self._store.add(IndexedFile(str(source.path), source.uri, current), found.chunks, vectors, second)
        (self._changed if known else self._added).append(source.uri)
        if found.note:
            self._notes.append(FileNote(str(source.path), found.note))

    def _fingerprint(self, source: SourceFile, data: bytes) -> str:
        """A hash that changes with the content and with everything else that chunks and vectors depend on."""
        made_by = f"{CHUNKING_VERSION}\n{self._embedder.name}\n{source.uri}\n"
        return hashlib.sha256(made_by.encode() + data).hexdigest()

    def _make_way(self, source: SourceFile) -> None:
        """Remove the entry of a file that moved here from another path.

        A URI belongs to one file. Raises `UnreadableDocument` if another file that still exists has this URI.
        """
        other = self._path_of.get(source.uri)
        if other is None or other == str(source.path):
            return
        if Path(other).exists():
            raise UnreadableDocument(f"{other} already has the name {source.uri} in this index; rename a folder")
        self._remove(other)

    def _complete(self, total: int) -> None:
        """Give second vectors to passages that were indexed without them, by an older program or without the model."""
        passages = 0
        while self._languages and (lacking := self._store.without_second(self._languages.name, PASSAGES_PER_STEP)):
            vectors = small(self._languages.embed([embedded_text(chunk) for _, chunk in lacking]))
            with self._store.change():
                self._store.add_second([row_id for row_id, _ in lacking], self._languages.name, vectors)
            passages += len(lacking)
            self._on_progress(Progress(total, total, "for other languages", passages, 1.0))

    def _vectors(
        self, chunks: Sequence[Chunk], progress: OnPassages
    ) -> tuple[Vectors, tuple[str, SmallVectors] | None]:
        """The vectors, and the name of the second model with its own."""
        vectors = np.zeros((len(chunks), self._embedder.dimension), dtype=np.float32)
        second = np.zeros((len(chunks), self._languages.dimension), dtype=np.int8) if self._languages else None
        for start in range(0, len(chunks), PASSAGES_PER_STEP):
            step = chunks[start : start + PASSAGES_PER_STEP]
            for at, (vector, other) in enumerate(self._embedded([embedded_text(chunk) for chunk in step]), start):
                vectors[at] = vector
                if second is not None and other is not None:
                    second[at] = other
            done = start + len(step)
            progress(done, done / len(chunks))
        return vectors, None if second is None or self._languages is None else (self._languages.name, second)

    def _embedded(self, texts: Sequence[str]) -> list[tuple[Vector, SmallVector | None]]:
        """The vectors of texts. Embedding is nearly all of the work, so a copy takes the vector of its original."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._recent}
        known = {key: self._recent[key] for key in keys if key in self._recent}
        fresh = list(new.values())
        others = small(self._languages.embed(fresh)) if self._languages and fresh else [None] * len(fresh)
        known.update(zip(new, zip(self._embedder.embed(fresh), others, strict=True), strict=True))
        for key, vector in known.items():
            # Those that have copies are put at the end again, and so stay.
            self._recent.pop(key, None)
            self._recent[key] = vector
        while len(self._recent) > MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        return [known[key] for key in keys]

    def _forget_missing(
        self, roots: Sequence[Path], sources: Sequence[SourceFile], problems: Sequence[Unreadable]
    ) -> None:
        present = {str(source.path) for source in sources}
        # A folder that could not be opened may still contain its files, so they stay in the index.
        closed = [Path(problem.path) for problem in problems if os.path.lexists(problem.path)]
        for file in list(self._known.values()):
            left_out = is_under(file.path, roots) and file.path not in present and not is_under(file.path, closed)
            if left_out or is_gone(file.path):
                self._forget(file)
        # A deleted folder is not a problem if documents of it were indexed: the report lists those as removed.
        reported = [Path(problem.path) for problem in problems if self._lost_documents_of(problem.path)]
        self._unreadable += [problem for problem in problems if Path(problem.path) not in reported]

    def _lost_documents_of(self, path: str) -> bool:
        return is_gone(path) and any(is_under(file, [Path(path)]) for file in self._gone)

    def _forget(self, file: IndexedFile) -> None:
        self._remove(file.path)
        self._gone.append(file.path)
        self._removed.append(file.uri)

    def _remove(self, path: str) -> None:
        with self._store.change():
            self._store.remove(path)
        del self._path_of[self._known.pop(path).uri]


def size_of(path: Path) -> int:
    """The size of a file in bytes; 0 if it cannot be read, which is told when its turn comes."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def is_gone(path: str) -> bool:
    """Whether the file no longer exists. A file without access permission still exists."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def is_under(path: str, folders: Iterable[Path]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def embedded_text(chunk: Chunk) -> str:
    """The passage under its last heading only.

    The full heading path starts with the document's title, which is the same in all chunks and makes their vectors more
    alike. On the tuning half of `make eval-retrieval` it found the same documents, a little later (MRR .77 and not .79
    for one document, .26 and not .27 in other words).
    """
    _, _, passage = chunk.text.partition("\n\n")
    return f"{chunk.title.rsplit(' > ', 1)[-1]}\n\n{passage}"

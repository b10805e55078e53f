"""Bringing an index in step with folders: only what changed is read into it, one file at a time."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from graph_agent.local.documents.chunks import CHUNKING_VERSION, Chunk
from graph_agent.local.documents.files import Skipped, SourceFile, Unreadable, absolute, read_document, survey
from graph_agent.local.documents.reader_process import DocumentReader
from graph_agent.local.documents.sections import EmptyDocument, UnreadableDocument
from graph_agent.local.index.embedder import Embedder, Vectors
from graph_agent.local.index.store import IndexedFile, IndexStore

PASSAGES_PER_STEP = 32
"""Passages embedded between two progress reports: about a second's work."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an indexing has come: files done, files in all, the one at work, its passages embedded so far."""

    done: int
    total: int
    uri: str
    passages: int


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an indexing did, as document URIs; `unreadable` is what gave nothing, and why."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    skipped: Skipped = field(default_factory=Skipped)


Paths = Sequence[str | os.PathLike[str]]
OnProgress = Callable[[Progress], None]


class Synchronization:
    """One run over the given roots. Interrupted at any point, it leaves every file either as it was or as it is."""

    def __init__(
        self, store: IndexStore, embedder: Embedder, on_progress: OnProgress, reader: DocumentReader, *, hidden: bool
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._on_progress = on_progress
        self._reader = reader
        self._hidden = hidden
        self._known = store.files()
        self._added: list[str] = []
        self._changed: list[str] = []
        self._removed: list[str] = []
        self._gone: list[str] = []
        self._unchanged: list[str] = []
        self._unreadable: list[Unreadable] = []

    def run(self, roots: Paths) -> IndexReport:
        found = survey(roots, hidden=self._hidden)
        self._forget_missing([absolute(root) for root in roots], found.sources, found.problems)
        for done, source in enumerate(found.sources):
            progress = partial(Progress, done, len(found.sources), source.uri)
            self._progress(progress(0))
            self._take(source, progress)
        self._progress(Progress(len(found.sources), len(found.sources), "", 0))
        return IndexReport(
            tuple(self._added),
            tuple(self._changed),
            tuple(self._removed),
            tuple(self._unchanged),
            tuple(self._unreadable),
            found.skipped,
        )

    def _progress(self, progress: Progress) -> None:
        self._on_progress(progress)

    def _take(self, source: SourceFile, progress: Callable[[int], Progress]) -> None:
        try:
            self._refresh(source, progress)
        except UnreadableDocument as error:
            if isinstance(error, EmptyDocument) and str(source.path) in self._known:
                self._forget(self._known[str(source.path)])
            self._unreadable.append(Unreadable(str(source.path), str(error)))

    def _refresh(self, source: SourceFile, progress: Callable[[int], Progress]) -> None:
        data = read_document(source)
        known, current = self._known.get(str(source.path)), self._fingerprint(source, data)
        if known and known.fingerprint == current:
            self._unchanged.append(source.uri)
            return
        self._make_way(source)
        chunks = self._reader.chunks(source, data)
        vectors = self._vectors(chunks, progress)
        with self._store.change():
            self._store.remove(str(source.path))
            self._store.add(IndexedFile(str(source.path), source.uri, current), chunks, vectors)
        (self._changed if known else self._added).append(source.uri)

    def _fingerprint(self, source: SourceFile, data: bytes) -> str:
        """Changes with the content, and with everything else that shapes the chunks and vectors."""
        made_by = f"{CHUNKING_VERSION}\n{self._embedder.name}\n{source.uri}\n"
        return hashlib.sha256(made_by.encode() + data).hexdigest()

    def _make_way(self, source: SourceFile) -> None:
        """One URI means one file: a file that moved takes its place, one that is still there keeps it."""
        namesakes = [file for file in self._known.values() if file.uri == source.uri]
        for other in [file for file in namesakes if file.path != str(source.path)]:
            if Path(other.path).exists():
                raise UnreadableDocument(f"{other.path} is indexed under the same name, {source.uri}; rename a folder")
            self._remove(other.path)

    def _vectors(self, chunks: Sequence[Chunk], progress: Callable[[int], Progress]) -> Vectors:
        vectors = np.zeros((len(chunks), self._embedder.dimension), dtype=np.float32)
        for start in range(0, len(chunks), PASSAGES_PER_STEP):
            step = chunks[start : start + PASSAGES_PER_STEP]
            vectors[start : start + len(step)] = self._embedder.embed([embedded_text(chunk) for chunk in step])
            self._progress(progress(start + len(step)))
        return vectors

    def _forget_missing(
        self, roots: Sequence[Path], sources: Sequence[SourceFile], problems: Sequence[Unreadable]
    ) -> None:
        present = {str(source.path) for source in sources}
        # What could not be looked into is not known to be gone.
        closed = [Path(problem.path) for problem in problems if os.path.lexists(problem.path)]
        for file in list(self._known.values()):
            left_out = is_under(file.path, roots) and file.path not in present and not is_under(file.path, closed)
            if left_out or is_gone(file.path):
                self._forget(file)
        # A folder that was deleted is no fault where its documents were: they are told as removed.
        told = [Path(problem.path) for problem in problems if self._lost_documents_of(problem.path)]
        self._unreadable += [problem for problem in problems if Path(problem.path) not in told]

    def _lost_documents_of(self, path: str) -> bool:
        return is_gone(path) and any(is_under(file, [Path(path)]) for file in self._gone)

    def _forget(self, file: IndexedFile) -> None:
        self._remove(file.path)
        self._gone.append(file.path)
        self._removed.append(file.uri)

    def _remove(self, path: str) -> None:
        with self._store.change():
            self._store.remove(path)
        del self._known[path]


def is_gone(path: str) -> bool:
    """Whether there is no such file any more, not even one that may not be looked at."""
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
    """The passage under its last heading only: the document's title, alike in all its chunks, blurs their vectors."""
    _, _, passage = chunk.text.partition("\n\n")
    return f"{chunk.title.rsplit(' > ', 1)[-1]}\n\n{passage}"

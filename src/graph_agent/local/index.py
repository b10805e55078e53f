"""A vector index in one SQLite file: kept in step with folders of documents, searched by meaning and by words."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from graph_agent.errors import InvalidRequest
from graph_agent.local.documents import Chunk
from graph_agent.local.embedder import Embedder, Vector, unit
from graph_agent.local.index_filters import where
from graph_agent.local.index_store import Embeddings, IndexStore
from graph_agent.local.index_sync import IndexReport, OnProgress, Paths, Progress, Synchronisation
from graph_agent.local.relevance import Scores, best, cosines, coverage, query_words

__all__ = ["Hit", "Index", "IndexReport", "Progress", "QueryType", "index_folder"]

QueryType = Literal["ANN", "HYBRID", "FULL_TEXT"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and its relevance from 0 to 1; `relevance` says what the number means."""

    chunk: Chunk
    score: float


def index_folder(
    paths: Paths, index_path: str | os.PathLike[str], embedder: Embedder, on_progress: OnProgress | None = None
) -> IndexReport:
    """Bring the index at `index_path` in step with the files and folders of `paths`, making it if there is none.

    Documents of other folders indexed earlier stay. Interrupted, it keeps every file it had finished.
    Raises `IndexUnavailable`.
    """
    with Index.open(index_path, embedder) as index:
        return index.sync(paths, on_progress)


class Index:
    """Chunks, their vectors and their words. May be searched from several threads, also while another one indexes."""

    def __init__(self, store: IndexStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    @classmethod
    def open(cls, path: str | os.PathLike[str], embedder: Embedder, *, create: bool = True) -> Self:
        """Raises `IndexUnavailable` where the file is missing and not to be made, or is no index of this version."""
        return cls(IndexStore.open(Path(path), embedder.dimension, create=create), embedder)

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """The number of chunks."""
        return self._store.count()

    @property
    def files(self) -> dict[str, str]:
        """The URI of each indexed file by its absolute path."""
        return {path: file.uri for path, file in self._store.files().items()}

    def sync(self, roots: Paths, on_progress: OnProgress | None = None) -> IndexReport:
        """Index what is new or changed under the roots, and forget what is no longer there."""
        return Synchronisation(self._store, self._embedder, on_progress or ignore).run(roots)

    def search(
        self,
        text: str | None = None,
        *,
        vector: Sequence[float] | None = None,
        k: int = 5,
        query_type: QueryType = "HYBRID",
        filters: Mapping[str, Any] | None = None,
        min_score: float = 0.0,
    ) -> list[Hit]:
        """The best `k` chunks, best first. `vector`, where given, stands for the embedded `text`.

        Raises `InvalidRequest` for a query or filter that cannot be answered, and `IndexUnavailable`.
        """
        condition = where(filters or {})
        words = [] if query_type == "ANN" else query_words(needed(text))
        embedded = None if query_type == "FULL_TEXT" else self._query_vector(text, vector)
        with self._store.snapshot():
            embeddings = self._store.embeddings()
            scores = self._scores(embeddings, words, embedded)
            allowed = embeddings.marked(self._store.matching(condition)) & (scores >= min_score)
            found = best(scores, allowed, k)
            return [Hit(self._store.chunk(int(embeddings.ids[at])), float(scores[at])) for at in found]

    def _scores(self, embeddings: Embeddings, words: Sequence[str], embedded: Vector | None) -> Scores:
        halves = []
        if embedded is not None:
            halves.append(cosines(embeddings.vectors, embedded))
        if words or embedded is None:
            held = {word: embeddings.positions(self._store.holders(word)) for word in words}
            halves.append(coverage(held, embeddings.size))
        scores: Scores = np.mean(halves, axis=0, dtype=np.float32)
        return scores

    def _query_vector(self, text: str | None, vector: Sequence[float] | None) -> Vector:
        if vector is None:
            embedded: Vector = self._embedder.embed([needed(text)])[0]
            return embedded
        if len(vector) != self._embedder.dimension:
            raise InvalidRequest(f"A vector must hold {self._embedder.dimension} numbers.", param="query_vector")
        return unit(np.asarray(vector, dtype=np.float32))


def needed(text: str | None) -> str:
    if text is None or not text.strip():
        raise InvalidRequest("The query needs a text.", param="query_text")
    return text


def ignore(_: Progress) -> None:
    """For callers who do not watch."""

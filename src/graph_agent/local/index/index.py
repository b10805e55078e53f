"""A vector index in one SQLite file: synchronized with folders of documents, searched by meaning and by words."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from graph_agent.errors import InvalidRequest
from graph_agent.local.documents.chunks import Chunk
from graph_agent.local.documents.reader_process import DocumentReader
from graph_agent.local.index.arabic_words import with_attached, without_attached
from graph_agent.local.index.embedder import Embedder, Vector, unit
from graph_agent.local.index.filters import where
from graph_agent.local.index.other_languages import OtherLanguages, scaled_cosines
from graph_agent.local.index.relevance import Scores, best, cosines, coverage, mixed, with_neighbors
from graph_agent.local.index.store import Embeddings, IndexStore
from graph_agent.local.index.synchronization import IndexReport, OnProgress, Paths, Progress, Synchronization
from graph_agent.local.index.words import latin_share, query_words

__all__ = ["Hit", "Index", "IndexReport", "Progress", "QueryType", "index_folder"]

MEANING = 0.5
"""Weight of the cosine in a hybrid score, if the query is in Latin letters."""

LEAST = 0.1
"""Smallest share of that weight, in any script. The embedding model knows little but English."""

QueryType = Literal["ANN", "HYBRID", "FULL_TEXT"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and its relevance from 0 to 1. The module `relevance` says what the number means."""

    chunk: Chunk
    score: float


def index_folder(
    paths: Paths,
    index_path: str | os.PathLike[str],
    embedder: Embedder,
    on_progress: OnProgress | None = None,
    *,
    hidden: bool = False,
    languages: OtherLanguages | None = None,
) -> IndexReport:
    """Synchronize the index at `index_path` with the files and folders in `paths`. Creates the index if there is none.

    Documents of other folders that were indexed earlier stay, unless their files are gone. After an interruption the
    index has every file that was finished. Raises `IndexUnavailable`.
    """
    with Index.open(index_path, embedder, languages=languages) as index:
        return index.sync(paths, on_progress, hidden=hidden)


class Index:
    """Chunks with their vectors and words. Several threads may search it, also while another one indexes."""

    def __init__(self, store: IndexStore, embedder: Embedder, languages: OtherLanguages | None) -> None:
        self._store = store
        self._embedder = embedder
        self._languages = languages

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        embedder: Embedder,
        *,
        create: bool = True,
        languages: OtherLanguages | None = None,
    ) -> Self:
        """Open an index file. With `languages`, queries that are not English are searched with its vectors.

        Raises `IndexUnavailable` if there is no file and `create` is false, or if the file has another format.
        """
        return cls(IndexStore.open(Path(path), embedder.dimension, create=create), embedder, languages)

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
        """The URI of each indexed file, by absolute path."""
        return {path: file.uri for path, file in self._store.files().items()}

    @property
    def was_older(self) -> bool:
        """Whether opening it migrated the file from an older format."""
        return self._store.was_older

    def sync(self, roots: Paths, on_progress: OnProgress | None = None, *, hidden: bool = False) -> IndexReport:
        """Index what is new or changed under the roots, and remove what is gone. `hidden` includes hidden files."""
        with DocumentReader() as reader:
            return Synchronization(
                self._store, self._embedder, on_progress or ignore, reader, hidden=hidden, languages=self._languages
            ).run(roots)

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
        """The best `k` chunks, best first. `vector` replaces the embedding of `text`.

        Raises `InvalidRequest` for a query or filter that cannot be answered, and `IndexUnavailable`.
        """
        condition = where(filters or {})
        words = [] if query_type == "ANN" else query_words(required(text))
        embedded = None if query_type == "FULL_TEXT" else self._query_vector(text, vector)
        foreign = None if vector is not None or embedded is None else self._foreign(required(text))
        # The query is embedded before the snapshot begins, because embedding is slow and a snapshot holds the lock.
        with self._store.snapshot():
            embeddings = self._store.embeddings()
            scores = self._scores(embeddings, text or "", words, embedded, foreign)
            if query_type == "HYBRID":
                scores = with_neighbors(scores, embeddings.first)
            allowed = scores >= min_score
            if filters:
                allowed &= embeddings.marked(self._store.matching(condition))
            found = best(scores, allowed, k)
            return [Hit(self._store.chunk(int(embeddings.ids[at])), float(scores[at])) for at in found]

    def _scores(
        self,
        embeddings: Embeddings,
        text: str,
        words: Sequence[str],
        embedded: Vector | None,
        foreign: tuple[float, Vector] | None,
    ) -> Scores:
        if embedded is None:
            return self._by_words(embeddings, words)
        meaning = MEANING * max(latin_share(text), LEAST)
        languages = self._languages
        second = None
        if foreign is not None and languages is not None:
            second = self._store.second_vectors(languages.name, languages.dimension)
        if foreign is None or second is None:
            by_meaning = cosines(embeddings.vectors, embedded)
        else:
            share, query = foreign
            by_meaning = scaled_cosines(second.vectors, second.lengths, query)
            if share < 1:
                by_meaning = mixed(by_meaning, cosines(embeddings.vectors, embedded), meaning=share)
            meaning = share * MEANING + (1 - share) * meaning
        # For a query of stop words only, the score of the words would be 0 for every chunk.
        if not words:
            return by_meaning
        return mixed(by_meaning, self._by_words(embeddings, words), meaning=meaning)

    def _foreign(self, text: str) -> tuple[float, Vector] | None:
        """How far a query is for the second model, and its vector. None if it is not, or if there is no such model."""
        languages = self._languages
        share = 0.0 if languages is None else languages.share(text)
        return None if languages is None or not share else (share, languages.embed([text])[0])

    def _by_words(self, embeddings: Embeddings, words: Sequence[str]) -> Scores:
        vocabulary = self._store.vocabulary()
        held = {word: self._store.holders([word, *with_attached(word)]) for word in words}
        near = {
            word: self._store.holders(terms)
            for word in words
            if (terms := [*vocabulary.related(word, known=held[word].size > 0), *without_attached(word)])
        }
        return coverage(held, embeddings.size, near=near)

    def _query_vector(self, text: str | None, vector: Sequence[float] | None) -> Vector:
        if vector is None:
            embedded: Vector = self._embedder.embed([required(text)])[0]
            return embedded
        if len(vector) != self._embedder.dimension:
            raise InvalidRequest(
                f"The query vector must have {self._embedder.dimension} numbers.", param="query_vector"
            )
        return unit(np.asarray(vector, dtype=np.float32))


def required(text: str | None) -> str:
    if text is None or not text.strip():
        raise InvalidRequest("The query must have a text.", param="query_text")
    return text


def ignore(_: Progress) -> None:
    """Does nothing. For callers without a progress display."""

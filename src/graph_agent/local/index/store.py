"""The SQLite file of an index: the indexed files, their chunks with vectors, and the words of each chunk."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from graph_agent.errors import IndexUnavailable
from graph_agent.local.documents.chunks import Chunk
from graph_agent.local.index.compound_words import Vocabulary
from graph_agent.local.index.embedder import Vectors
from graph_agent.local.index.file_format import explain_sqlite_errors, prepare
from graph_agent.local.index.filters import Condition
from graph_agent.private_files import make_private

BUSY_SECONDS = 10.0
"""How long to wait while another process writes."""


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """An indexed file. If its fingerprint changes, it must be read again."""

    path: str
    uri: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Embeddings:
    """All vectors in memory, ordered by the row ids of their chunks."""

    generation: int
    ids: NDArray[np.int64]
    vectors: Vectors

    @property
    def size(self) -> int:
        return len(self.ids)

    def positions(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """The positions of the chunks with these row ids."""
        return np.searchsorted(self.ids, np.asarray(ids, dtype=np.int64))

    def marked(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        """A mask that is true at the positions of these chunks."""
        marks = np.zeros(self.size, dtype=bool)
        marks[self.positions(ids)] = True
        return marks


class IndexStore:
    """One connection to the file. Several processes may open the same file, and readers never wait for the writer."""

    def __init__(self, connection: sqlite3.Connection, path: Path, dimension: int, *, was_older: bool = False) -> None:
        self._connection = connection
        self._path = path
        self.was_older = was_older
        self._dimension = dimension
        # One connection has one transaction, so threads take turns. Reentrant, because `_rows` runs inside `snapshot`.
        self._lock = RLock()
        self._embeddings: Embeddings | None = None
        self._vocabulary: tuple[int, Vocabulary] | None = None

    @classmethod
    def open(cls, path: Path, dimension: int, *, create: bool) -> Self:
        """Open a file, or create it if `create` is true. Raises `IndexUnavailable` if there is no usable index."""
        if not create and not path.exists():
            raise IndexUnavailable(f"There is no index at {path.name}; run `graph-agent index` first.")
        with explain_sqlite_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Before SQLite creates it: the passages of private documents must not be readable by other users.
            make_private(path)
            # Transactions are begun explicitly. Threads share the connection under `_lock`, so SQLite need not check.
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            was_older = prepare(connection, path.name)
        return cls(connection, path, dimension, was_older=was_older)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything that is read inside is from one moment, even if another process writes meanwhile."""
        with self._lock, explain_sqlite_errors(self._path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def change(self) -> Iterator[None]:
        """Either everything that is written inside is kept, or nothing."""
        with self._lock, explain_sqlite_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                # Tells all processes that their cached vectors and vocabulary are out of date.
                self._connection.execute("UPDATE generation SET number = number + 1")
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def files(self) -> dict[str, IndexedFile]:
        return {row[0]: IndexedFile(*row) for row in self._rows("SELECT path, uri, fingerprint FROM files")}

    def count(self) -> int:
        return int(self._rows("SELECT count(*) FROM chunks")[0][0])

    def remove(self, path: str) -> None:
        self._rows("DELETE FROM files WHERE path = ?", [path])

    def add(self, file: IndexedFile, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        self._rows("INSERT INTO files VALUES (?, ?, ?)", astuple(file))
        self._connection.executemany(
            "INSERT INTO chunks (file, chunk_id, doc_uri, title, text, position, vector) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(file.path, *astuple(chunk), vector.tobytes()) for chunk, vector in zip(chunks, vectors, strict=True)],
        )

    def vocabulary(self) -> Vocabulary:
        """All terms of the index, cached until the next change. Call it inside a snapshot."""
        generation = self._generation()
        if self._vocabulary is None or self._vocabulary[0] != generation:
            self._vocabulary = generation, Vocabulary.of(row[0] for row in self._rows("SELECT term FROM terms"))
        return self._vocabulary[1]

    def _generation(self) -> int:
        return int(self._rows("SELECT number FROM generation")[0][0])

    def embeddings(self) -> Embeddings:
        """All vectors, cached until the next change. Call it inside a snapshot."""
        generation = self._generation()
        if self._embeddings is None or self._embeddings.generation != generation:
            self._embeddings = self._read_embeddings(generation)
        return self._embeddings

    def holders(self, word: str) -> list[int]:
        """The row ids of the chunks that contain the word in any of its forms."""
        return [row[0] for row in self._rows("SELECT rowid FROM words WHERE words MATCH ?", [f'"{word}"'])]

    def matching(self, condition: Condition) -> list[int]:
        """The row ids of the chunks that match a filter."""
        sql, parameters = condition
        return [row[0] for row in self._rows(f"SELECT id FROM chunks WHERE {sql}", parameters)]

    def chunk(self, row_id: int) -> Chunk:
        columns = "chunk_id, doc_uri, title, text, position"
        return Chunk(*self._rows(f"SELECT {columns} FROM chunks WHERE id = ?", [row_id])[0])

    def _read_embeddings(self, generation: int) -> Embeddings:
        rows = self._rows("SELECT id, vector FROM chunks ORDER BY id")
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        vectors = np.frombuffer(b"".join(row[1] for row in rows), dtype=np.float32)
        return Embeddings(generation, ids, vectors.reshape(len(rows), self._dimension))

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._lock, explain_sqlite_errors(self._path):
            return self._connection.execute(sql, parameters).fetchall()

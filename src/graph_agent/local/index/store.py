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
from graph_agent.local.index.common_words import CommonWords, Stems
from graph_agent.local.index.compound_words import Vocabulary
from graph_agent.local.index.embedder import Vectors
from graph_agent.local.index.file_format import explain_sqlite_errors, prepare
from graph_agent.local.index.filters import Condition
from graph_agent.local.index.other_languages import SmallVectors, lengths
from graph_agent.private_files import make_private

BUSY_SECONDS = 10.0
"""How long to wait while another process writes."""


MOST_POSITIONS = 4_000_000
"""Positions of passages with known words that are kept between queries: 16 MB."""

Ids = NDArray[np.int64]
Positions = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """An indexed file. If its fingerprint changes, it must be read again."""

    path: str
    uri: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Embeddings:
    """All vectors in memory, ordered by the row ids of their chunks: document by document, each in its own order."""

    generation: int
    ids: NDArray[np.int64]
    vectors: Vectors
    first: NDArray[np.bool_]
    """Which of the chunks are the first of their documents."""

    @property
    def size(self) -> int:
        return len(self.ids)

    def positions(self, ids: Ids) -> Positions:
        """The positions of the chunks with these row ids."""
        if self.size and int(self.ids[-1]) - int(self.ids[0]) == self.size - 1:
            # No document was removed or changed, so the row ids have no gaps.
            places: Positions = (ids - self.ids[0]).astype(np.int32)
            return places
        return np.searchsorted(self.ids, ids).astype(np.int32)

    def marked(self, ids: Ids) -> NDArray[np.bool_]:
        """A mask that is true at the positions of these chunks."""
        marks = np.zeros(self.size, dtype=bool)
        marks[self.positions(ids)] = True
        return marks


@dataclass(frozen=True, slots=True)
class SecondVectors:
    """The vectors of the second model in memory, in the order of the chunks."""

    generation: int
    ids: Ids
    vectors: SmallVectors
    lengths: Vectors


class WordPositions:
    """Positions of chunks by the words of a query, at most `MOST_POSITIONS`. Those that were not used lately go."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self._kept: dict[str, Positions] = {}
        self._size = 0

    def get(self, query: str) -> Positions | None:
        found = self._kept.pop(query, None)
        if found is not None:
            self._kept[query] = found
        return found

    def add(self, query: str, found: Positions) -> None:
        self._kept[query] = found
        # One for each entry, so that queries without results do not pile up either.
        self._size += len(found) + len(query) + 1
        while self._size > MOST_POSITIONS:
            oldest = next(iter(self._kept))
            self._size -= len(self._kept.pop(oldest)) + len(oldest) + 1


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
        self._second: SecondVectors | None = None
        self._vocabulary: tuple[int, Vocabulary] | None = None
        self._common = CommonWords({}, 0)
        self._stems = Stems()
        self._word_positions = WordPositions(-1)

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
            self._stems.close()

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

    def add(
        self,
        file: IndexedFile,
        chunks: Sequence[Chunk],
        vectors: Vectors,
        second: tuple[str, SmallVectors] | None = None,
    ) -> None:
        self._rows("INSERT INTO files VALUES (?, ?, ?)", astuple(file))
        self._connection.executemany(
            "INSERT INTO chunks (file, chunk_id, doc_uri, title, text, position, vector) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(file.path, *astuple(chunk), vector.tobytes()) for chunk, vector in zip(chunks, vectors, strict=True)],
        )
        if second is not None:
            ids = [row[0] for row in self._rows("SELECT id FROM chunks WHERE file = ? ORDER BY id", [file.path])]
            self.add_second(ids, *second)

    def without_second(self, model: str, count: int) -> list[tuple[int, Chunk]]:
        """Up to `count` chunks that have no vector of this second model, with their row ids."""
        columns = "id, chunk_id, doc_uri, title, text, position"
        lacking = "id NOT IN (SELECT id FROM other_vectors WHERE model = ?)"
        return [
            (int(row[0]), Chunk(*row[1:]))
            for row in self._rows(f"SELECT {columns} FROM chunks WHERE {lacking} ORDER BY id LIMIT ?", [model, count])
        ]

    def add_second(self, ids: Sequence[int], model: str, vectors: SmallVectors) -> None:
        """Add vectors of this second model to chunks, in place of those of another one."""
        # A document may have been removed while its passages were embedded.
        self._connection.executemany(
            "INSERT OR REPLACE INTO other_vectors SELECT id, ?, ? FROM chunks WHERE id = ?",
            [(model, vector.tobytes(), row_id) for row_id, vector in zip(ids, vectors, strict=True)],
        )

    def second_vectors(self, model: str, dimension: int) -> SecondVectors | None:
        """All vectors of this second model, cached until the next change. None if a chunk has none.

        Call it inside a snapshot.
        """
        embeddings = self.embeddings()
        known = self._second
        if known is None or known.generation != embeddings.generation:
            known = self._second = self._read_second(embeddings, known, model, dimension)
        return known if len(known.ids) == embeddings.size else None

    def _read_second(
        self, embeddings: Embeddings, known: SecondVectors | None, model: str, dimension: int
    ) -> SecondVectors:
        ids = np.sort(self._ids("SELECT id FROM other_vectors WHERE model = ?", [model]))
        if len(ids) != embeddings.size:
            none = np.empty((0, dimension), dtype=np.int8)
            return SecondVectors(embeddings.generation, ids, none, np.empty(0, dtype=np.float32))
        vectors = np.empty((len(ids), dimension), dtype=np.int8)
        # Row ids are never used again, so a vector that was read before is the same.
        last = int(known.ids[-1]) if known is not None and len(known.vectors) else -1
        new = int(np.searchsorted(ids, last, side="right"))
        if known is not None and new:
            vectors[:new] = known.vectors[np.searchsorted(known.ids, ids[:new])]
        with self._lock, explain_sqlite_errors(self._path):
            rows = self._connection.execute(
                "SELECT vector FROM other_vectors WHERE model = ? AND id > ? ORDER BY id", [model, last]
            )
            for at, (vector,) in enumerate(rows, start=new):
                vectors[at] = np.frombuffer(vector, dtype=np.int8)
        return SecondVectors(embeddings.generation, ids, vectors, lengths(vectors))

    def vocabulary(self) -> Vocabulary:
        """All terms of the index, cached until the next change. Call it inside a snapshot."""
        generation = self._generation()
        if self._vocabulary is None or self._vocabulary[0] != generation:
            counts = self._rows("SELECT term, doc FROM terms")
            self._common = CommonWords.read(counts, self.embeddings().size, self._stems, self._marks)
            self._vocabulary = generation, Vocabulary.of(term for term, _ in counts)
        return self._vocabulary[1]

    def _marks(self, word: str) -> NDArray[np.bool_]:
        return self.embeddings().marked(self._holding(f'"{word}"'))

    def _holding(self, query: str) -> Ids:
        return self._ids("SELECT rowid FROM words WHERE words MATCH ?", [query])

    def _generation(self) -> int:
        return int(self._rows("SELECT number FROM generation")[0][0])

    def embeddings(self) -> Embeddings:
        """All vectors, cached until the next change. Call it inside a snapshot."""
        generation = self._generation()
        if self._embeddings is None or self._embeddings.generation != generation:
            self._embeddings = self._read_embeddings(generation)
        return self._embeddings

    def holders(self, words: Sequence[str]) -> Positions:
        """The positions of the chunks that contain one of the words in any of its forms, cached until the next change.

        Call it inside a snapshot, after `vocabulary`.
        """
        if len(words) == 1 and (known := self._common.positions(self._stems.of(words[0]))) is not None:
            return known
        embeddings = self.embeddings()
        if self._word_positions.generation != embeddings.generation:
            self._word_positions = WordPositions(embeddings.generation)
        query = " OR ".join(f'"{word}"' for word in words)
        found = self._word_positions.get(query)
        if found is None:
            found = embeddings.positions(self._holding(query))
            self._word_positions.add(query, found)
        return found

    def matching(self, condition: Condition) -> Ids:
        """The row ids of the chunks that match a filter."""
        sql, parameters = condition
        return self._ids(f"SELECT id FROM chunks WHERE {sql}", parameters)

    def _ids(self, sql: str, parameters: Sequence[Any]) -> Ids:
        # As one text, because a tuple for each of 100,000 rows takes four times as long.
        [(joined,)] = self._rows(
            f"SELECT group_concat(id) FROM ({sql.replace(' rowid ', ' rowid AS id ')})", parameters
        )
        return np.fromstring(joined or "", dtype=np.int64, sep=",")

    def chunk(self, row_id: int) -> Chunk:
        columns = "chunk_id, doc_uri, title, text, position"
        return Chunk(*self._rows(f"SELECT {columns} FROM chunks WHERE id = ?", [row_id])[0])

    def _read_embeddings(self, generation: int) -> Embeddings:
        ids = np.sort(self._ids("SELECT id FROM chunks", []))
        vectors = np.empty((len(ids), self._dimension), dtype=np.float32)
        first = np.empty(len(ids), dtype=bool)
        known = self._embeddings
        # Row ids are never used again, so a chunk that was read before is the same.
        last = int(known.ids[-1]) if known is not None and known.size else -1
        new = int(np.searchsorted(ids, last, side="right"))
        if known is not None and new:
            kept = known.positions(ids[:new])
            vectors[:new], first[:new] = known.vectors[kept], known.first[kept]
        # Not all at once: 125,000 vectors are 190 MB.
        with self._lock, explain_sqlite_errors(self._path):
            rows = self._connection.execute("SELECT vector, position FROM chunks WHERE id > ? ORDER BY id", [last])
            for at, (vector, position) in enumerate(rows, start=new):
                vectors[at] = np.frombuffer(vector, dtype=np.float32)
                first[at] = position == 0
        return Embeddings(generation, ids, vectors, first)

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._lock, explain_sqlite_errors(self._path):
            return self._connection.execute(sql, parameters).fetchall()

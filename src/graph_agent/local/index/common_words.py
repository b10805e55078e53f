"""The passages of the words that many passages contain, read before the first query needs them.

SQLite takes a tenth of a millisecond for 1,000 passages of a word. So a query with some words of most of 125,000
passages would take twice as long as others, if each word were read when it is first asked for. A bit for each passage
takes a thirty-second of the memory of positions.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray

from graph_agent.local.index.file_format import TOKENIZER

LEAST_SHARE = 0.05
"""Share of all passages that contain a common word, at least."""

LEAST_PASSAGES = 1_000
"""Passages that contain a common word, at least. A word of fewer is read quickly."""

MOST_WORDS = 256
"""Of these words, those that most passages contain: 4 MB for 125,000 passages."""

Marks = NDArray[np.bool_]
Positions = NDArray[np.int32]


class Stems:
    """The form in which SQLite's tokenizer keeps a word: `settings` is `set`."""

    def __init__(self) -> None:
        # Threads share it under the lock of the store.
        self._memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._memory.execute(f"CREATE VIRTUAL TABLE word USING fts5 (text, tokenize='{TOKENIZER}')")
        self._memory.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (word, row)")

    def of(self, word: str) -> str | None:
        """The stem of a word. None if the tokenizer makes no word of it, or several."""
        self._memory.execute("INSERT INTO word (rowid, text) VALUES (1, ?)", [word])
        found = self._memory.execute("SELECT term FROM terms").fetchall()
        self._memory.execute("DELETE FROM word")
        return str(found[0][0]) if len(found) == 1 else None

    def close(self) -> None:
        """Free its memory. It cannot be used any more."""
        self._memory.close()


class CommonWords:
    """The passages of each common word of an index, by the word's stem."""

    def __init__(self, bits: Mapping[str, NDArray[np.uint8]], size: int) -> None:
        self._bits = bits
        self._size = size

    @classmethod
    def read(cls, counts: Iterable[tuple[str, int]], size: int, stems: Stems, marks: Callable[[str], Marks]) -> Self:
        """Read the common ones of all terms of an index. `counts` has each with the number of passages that contain it.

        `marks` reads the passages of a word. `size` is the number of all passages.
        """
        least = max(LEAST_PASSAGES, size * LEAST_SHARE)
        often = sorted(((count, term) for term, count in counts if count >= least), reverse=True)
        # Asking for a term makes a stem of it once more. Few become another word by that, and they are left out.
        terms = [term for _, term in often[:MOST_WORDS] if stems.of(term) == term]
        return cls({term: np.packbits(marks(term)) for term in terms}, size)

    def positions(self, stem: str | None) -> Positions | None:
        """The positions of the passages that contain a word. None if it is not a common one."""
        bits = None if stem is None else self._bits.get(stem)
        if bits is None:
            return None
        return np.flatnonzero(np.unpackbits(bits, count=self._size)).astype(np.int32)

"""`make bench-index`: how long searches of a large local index take, over made-up passages and vectors.

The words are drawn as in a natural language, where few of them are in most passages (Zipf's law). The vectors are
random: the index reads all of them for each query, so it does not matter what they mean.
"""

import argparse
import hashlib
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from graph_agent.local.index.index import Index, QueryType

WORDS = 60_000
WORDS_OF_PASSAGE = 80
WORDS_OF_QUERY = 8
PASSAGES_OF_FILE = 125
PASSAGES_ASKED = 60
"""What a search for five passages asks the index for, to leave copies out and to fuse the rest."""


class RandomEmbedder:
    """A vector for each text, as long as those of the embedding model, without a model."""

    name = "random-384"
    dimension = 384

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One unit vector for each text, the same for the same text."""
        vectors = np.stack([self._vector(text) for text in texts])
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def _vector(self, text: str) -> NDArray[np.float32]:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimension, dtype=np.float32)


class Language:
    """Made-up words, of which the n-th is n times rarer than the first."""

    def __init__(self, seed: int) -> None:
        letters = random.Random(seed)
        self._words = [
            "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=letters.randint(4, 10))) for _ in range(WORDS)
        ]
        weights = 1 / np.arange(1, WORDS + 1)
        self._shares = np.cumsum(weights / weights.sum())
        self._draws = np.random.default_rng(seed)

    def text(self, words: int) -> str:
        """So many words."""
        places = np.searchsorted(self._shares, self._draws.random(words))
        return " ".join(self._words[min(place, WORDS - 1)] for place in places)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the documents, index them, ask, and print the figures."""
    parser = argparse.ArgumentParser(prog="make bench-index", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--passages", type=int, default=125_000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args(arguments)
    console, language = Console(highlight=False, soft_wrap=True), Language(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents"
        documents.mkdir()
        for number in range(-(-options.passages // PASSAGES_OF_FILE)):
            count = min(PASSAGES_OF_FILE, options.passages - number * PASSAGES_OF_FILE)
            sections = [f"## Part {part}\n\n{language.text(WORDS_OF_PASSAGE)}" for part in range(count)]
            (documents / f"{number:05}.md").write_text("\n\n".join([f"# Document {number}", *sections]))
        began = time.perf_counter()
        with Index.open(Path(folder) / "index.sqlite", RandomEmbedder()) as index:
            index.sync([documents])
            console.out(f"{len(index)} passages indexed in {time.perf_counter() - began:.0f} s without embedding them")
        with Index.open(Path(folder) / "index.sqlite", RandomEmbedder()) as index:
            began = time.perf_counter()
            index.search(language.text(WORDS_OF_QUERY))
            console.out(f"first search, which reads the vectors: {time.perf_counter() - began:.1f} s")
            for kind in get_args(QueryType):
                console.out(f"{kind:10} {asked(index, kind, language, options.queries)}")
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
        console.out(f"most memory of the process: {most:.0f} MB")
    return 0


def asked(index: Index, kind: QueryType, language: Language, queries: int) -> str:
    """The percentiles of so many searches, by the clock and by the time of the processors."""
    clock, processors = [], []
    for _ in range(queries):
        text = language.text(WORDS_OF_QUERY)
        began, worked = time.perf_counter(), time.process_time()
        index.search(text, k=PASSAGES_ASKED, query_type=kind)
        clock.append((time.perf_counter() - began) * 1_000)
        processors.append((time.process_time() - worked) * 1_000)
    figures = [
        f"{name} p50 {np.percentile(taken, 50):.0f} ms, p99 {np.percentile(taken, 99):.0f} ms"
        for name, taken in (("clock", clock), ("processors", processors))
    ]
    return "; ".join(figures)


if __name__ == "__main__":
    raise SystemExit(main())

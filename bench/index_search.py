"""`make bench-index`: how long searches of a large local index take, over made-up passages and vectors.

The words are drawn as in a natural language, where few of them are in most passages (Zipf's law). The vectors are
random: the index reads all of them for each query, so it does not matter what they mean.
"""

import argparse
import hashlib
import json
import random
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from bench.line_plot import Line, line_plot
from graph_agent.local.index.index import Index, QueryType

WORDS = 60_000
WORDS_OF_PASSAGE = 80
WORDS_OF_QUERY = 8
PASSAGES_OF_FILE = 125
PASSAGES_ASKED = 40
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


@dataclass(frozen=True, slots=True)
class Point:
    """What searches of one kind took in an index of so many passages, in milliseconds."""

    passages: int
    kind: str
    cpu_p50: float
    cpu_p99: float
    clock_p50: float
    clock_p99: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the documents, index them, ask at each size, and print the figures."""
    parser = argparse.ArgumentParser(prog="make bench-index", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--passages", type=int, nargs="+", default=[125_000], help="sizes at which it is asked")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plot", type=Path, help="file for a plot of them, as SVG")
    options = parser.parse_args(arguments)
    console, language = Console(highlight=False, soft_wrap=True), Language(seed=1)
    found: list[Point] = []
    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents"
        documents.mkdir()
        with Index.open(Path(folder) / "index.sqlite", RandomEmbedder()) as index:
            for passages in sorted(options.passages):
                write(documents, len(index), passages, language)
                began = time.process_time()
                index.sync([documents])
                worked = time.process_time() - began
                console.out(f"{len(index)} passages; indexing took {worked:.0f} s without embedding them")
                began = time.process_time()
                index.search(language.text(WORDS_OF_QUERY))
                console.out(f"first search, which reads vectors and words: {time.process_time() - began:.1f} s")
                for kind in get_args(QueryType):
                    point = asked(index, kind, language, options.queries)
                    found.append(point)
                    console.out(
                        f"{kind:10} clock p50 {point.clock_p50:.0f} ms, p99 {point.clock_p99:.0f} ms; "
                        f"processors p50 {point.cpu_p50:.0f} ms, p99 {point.cpu_p99:.0f} ms"
                    )
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
        console.out(f"most memory of the process: {most:.0f} MB")
    figures = index_figures(found)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        options.plot.write_text(index_plot(figures), encoding="utf-8")
    return 0


def write(documents: Path, have: int, passages: int, language: Language) -> None:
    """Add documents until there are so many passages, to those that there are."""
    # The last document may be shorter than the others, and is written again.
    for start in range(have // PASSAGES_OF_FILE * PASSAGES_OF_FILE, passages, PASSAGES_OF_FILE):
        count = min(PASSAGES_OF_FILE, passages - start)
        sections = [f"## Part {part}\n\n{language.text(WORDS_OF_PASSAGE)}" for part in range(count)]
        number = start // PASSAGES_OF_FILE
        (documents / f"{number:05}.md").write_text("\n\n".join([f"# Document {number}", *sections]))


def asked(index: Index, kind: QueryType, language: Language, queries: int) -> Point:
    """The percentiles of so many searches, by the clock and by the time of the processors."""
    clock, processors = [], []
    for _ in range(queries):
        text = language.text(WORDS_OF_QUERY)
        began, worked = time.perf_counter(), time.process_time()
        index.search(text, k=PASSAGES_ASKED, query_type=kind)
        clock.append((time.perf_counter() - began) * 1_000)
        processors.append((time.process_time() - worked) * 1_000)
    shares = [float(np.percentile(taken, part)) for taken in (processors, clock) for part in (50, 99)]
    return Point(len(index), kind, *shares)


def index_figures(found: Sequence[Point]) -> list[dict[str, Any]]:
    """Return the figures for `--json`, without the time by the clock: it depends on what else the machine does."""
    return [
        {
            "passages": one.passages,
            "kind": one.kind,
            "cpu_p50_ms": round(one.cpu_p50, 1),
            "cpu_p99_ms": round(one.cpu_p99, 1),
        }
        for one in found
    ]


KINDS = {
    "HYBRID": ("By meaning and words", "#2f6fde"),
    "ANN": ("By meaning", "#b3501b"),
    "FULL_TEXT": ("By words", "#2f8f5b"),
}


def published_index(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return the table that the documentation shows, in Markdown, of the figures of `--json`."""
    lines = ["| Passages | Search | Processor time, p50 | p99 |", "|---|---|---|---|"]
    for one in figures:
        label, _ = KINDS[one["kind"]]
        lines.append(
            f"| {one['passages']:,} | {label} (`{one['kind']}`) | {one['cpu_p50_ms']:.0f} ms "
            f"| {one['cpu_p99_ms']:.0f} ms |"
        )
    return "\n".join(lines)


def index_plot(figures: Sequence[Mapping[str, Any]]) -> str:
    """Draw the slowest hundredth of searches over the number of passages, as SVG."""
    return line_plot(
        title="Processor time of a search of the local index, p99",
        over="milliseconds of processor time, p99",
        along="passages of the index",
        counts=sorted({one["passages"] for one in figures}),
        lines=[
            Line(label, color, [one["cpu_p99_ms"] for one in figures if one["kind"] == kind])
            for kind, (label, color) in KINDS.items()
        ],
    )


if __name__ == "__main__":
    raise SystemExit(main())

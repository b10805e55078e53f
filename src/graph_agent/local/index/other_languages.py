"""Second vectors, of a model that knows 16 languages, for queries that are not English.

The first model knows English only. It says itself what is not English: it cuts foreign words into many pieces. So
English queries are searched as if there were no second model, and the second one is loaded when it is first needed.
"""

import os
import re
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from graph_agent.errors import LocalModelFailed
from graph_agent.local.index.embedder import TextThreads, Vector, Vectors, session_options, unit
from graph_agent.local.index.words import HAN, HANGUL, HIRAGANA, KATAKANA, latin_share

ENGLISH_PIECES = 1.6
"""Pieces for each word of a query, up to which it is English: such questions have 1.1 to 1.4 at the mean."""

FOREIGN_PIECES = 2.0
"""Pieces for each word, from which it is not: French questions have 2.0, Spanish ones 2.3 and German ones 2.5."""

SCALE = 1.2
"""By how much the second model's cosines are multiplied. Then the best passage has a cosine as of the first model."""

ROWS_AT_ONCE = 1024
"""Rows of small integers that become numbers for the cosine together: 2 MB."""

KNOWN = re.compile(f"[{HAN}{HIRAGANA}{KATAKANA}{HANGUL}\u0400-\u04ff\u0600-\u06ff\u0e00-\u0e7f]")
"""Letters of the model's languages other than Latin: Chinese, Japanese, Korean, Cyrillic, Arabic and Thai."""

WORD = re.compile(r"\w+")

MOST_LOOKED_AT = 600
"""Characters of a query that say which language it has. The first model's tokenizer cuts no more than 256 pieces."""

MOST_EMBEDDED = 2_000
"""Characters of a text that are embedded. The time and memory of the model grow with them."""

SmallVectors = NDArray[np.int8]


class OtherLanguages(Protocol):
    """A second embedding model, and which queries are for it."""

    @property
    def name(self) -> str:
        """The name of the model and its version. Passages with vectors of another one are embedded again."""

    @property
    def dimension(self) -> int:
        """Number of components of each vector."""

    def share(self, query: str) -> float:
        """How far a query is for this model, and not for the first one: 0 for English, 1 for another language."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One L2-normalized row for each text. May be called from several threads."""


class MultilingualEmbedder:
    """Universal Sentence Encoder, multilingual, from its ONNX file. It gives 512 numbers.

    It is loaded by the first call of `embed`. `pieces` counts the pieces of a text for the first model.
    """

    name = "use-multilingual-v3-int8"
    dimension = 512

    def __init__(self, model: str | os.PathLike[str], pieces: Callable[[str], int], *, threads: int = 2) -> None:
        self._model = os.fspath(model)
        self._pieces = pieces
        self._threads = TextThreads(threads)
        self._lock = Lock()
        self._session: onnxruntime.InferenceSession | None = None

    def share(self, query: str) -> float:
        """0 for a query in English or in letters of a language that the model does not know, 1 for another language."""
        query = query[:MOST_LOOKED_AT]
        if latin_share(query) < 0.5:
            letters = [letter for letter in query if letter.isalpha()]
            return float(len(KNOWN.findall(query)) >= len(letters) / 2)
        # Names in code have many pieces in any language.
        words = [word for word in WORD.findall(query) if word.isalpha() and word[1:] == word[1:].lower()]
        if not words:
            return 0.0
        pieces = self._pieces(" ".join(words)) / len(words)
        return min(max((pieces - ENGLISH_PIECES) / (FOREIGN_PIECES - ENGLISH_PIECES), 0.0), 1.0)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector for the beginning of each text, in order. Raises `LocalModelFailed` if the file cannot be
        loaded."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        session = self._loaded()
        # Never in batches, for the same reason as of the first model.
        name = session.get_inputs()[0].name

        def one(text: str) -> Vector:
            return unit(session.run(None, {name: [text[:MOST_EMBEDDED]]})[0][0])

        return np.stack(self._threads.each(one, texts))

    def _loaded(self) -> onnxruntime.InferenceSession:
        with self._lock:
            if self._session is None:
                try:
                    # Only here: English alone needs no memory for it.
                    self._session = onnxruntime.InferenceSession(self._model, _options())
                # onnxruntime raises plain `Exception` for a damaged file.
                except Exception as error:
                    raise LocalModelFailed(
                        "The embedding model for other languages could not be loaded: run `graph-agent model` to "
                        "fetch it again."
                    ) from error
            return self._session


def is_usable() -> bool:
    """Whether the package that the model needs can be loaded here. It has native code, which may fit another system."""
    try:
        _options()
    except Exception:  # noqa: BLE001 - the dynamic linker has errors of its own, and onnxruntime raises plain ones
        return False
    return True


def _options() -> onnxruntime.SessionOptions:
    # Late: an index that is only searched in English needs it as seldom as the model.
    from onnxruntime_extensions import get_library_path

    options = session_options()
    options.register_custom_ops_library(get_library_path())
    return options


def small(vectors: Vectors) -> SmallVectors:
    """Rows of small integers in the same directions, a quarter of the size."""
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True, initial=0.0), 1e-12)
    rounded: SmallVectors = np.rint(vectors / largest * 127).astype(np.int8)
    return rounded


def lengths(vectors: SmallVectors) -> Vector:
    """The length of each row, at least 1."""
    squares = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        rows = vectors[start : start + ROWS_AT_ONCE].astype(np.float32)
        squares[start : start + len(rows)] = np.einsum("ij,ij->i", rows, rows)
    longest: Vector = np.sqrt(np.maximum(squares, 1.0))
    return longest


def scaled_cosines(vectors: SmallVectors, long: Vector, query: Vector) -> Vector:
    """The cosine of each row with the unit query on the scale of the first model, from 0 to 1."""
    products = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        rows = vectors[start : start + ROWS_AT_ONCE].astype(np.float32)
        products[start : start + len(rows)] = np.einsum("ij,j->i", rows, query)
    scores: Vector = np.clip(SCALE * products / long, 0.0, 1.0).astype(np.float32)
    return scores

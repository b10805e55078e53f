"""Vectors of texts for memories: asked for, normalized, and compared in this process.

Databases cannot be relied on for this: Pythons exist whose SQLite loads no extensions, and servers without pgvector.
"""

import heapq
import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from graph_agent.errors import AgentError
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.threads import run_in_service_thread

logger = logging.getLogger(__name__)

LONGEST_TEXT = 4000
"""Characters of a text that are embedded. Endpoints refuse longer ones, or cut them off."""

PAUSE_SECONDS = 30.0
"""How long an embedder that has failed is left alone, so that not every search waits for it."""

WORD = re.compile(r"\w+")


class Embedder(Protocol):
    """Makes vectors of texts."""

    @property
    def name(self) -> str:
        """Identifies the model. Vectors of different models cannot be compared."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector for each text, all of the same length.

        Raises:
            AgentError: the model does not answer.
            ValueError: it refuses a text.
        """


class Vectors:
    """The vectors of one embedder as bytes: float32 with the length 1. Without an embedder there are none."""

    def __init__(self, embedder: Embedder | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._embedder = embedder
        self._clock = clock
        self._paused_until = 0.0

    @property
    def name(self) -> str | None:
        """The name of the embedder, if there is one."""
        return None if self._embedder is None else self._embedder.name

    async def of(self, texts: Sequence[str]) -> Sequence[bytes] | None:
        """The vectors, or `None` if there are none now.

        Raises:
            ValueError: the embedder refuses a text.
        """
        if self._embedder is None or not texts or self._clock() < self._paused_until:
            return None
        try:
            found = await self._embedder.embed([_sendable(text) for text in texts])
        except AgentError as error:
            self._paused_until = self._clock() + PAUSE_SECONDS
            logger.warning("memories are found by their words for %g s: %s", PAUSE_SECONDS, error.message)
            return None
        return await run_in_service_thread(_packed, found, len(texts))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that a search looks at."""

    place: tuple[str, str]
    """The namespace and the key, as they are in the table."""

    changed_at: float
    vector: bytes | None
    text: str | None
    """Only if there is no vector."""


Ranked = tuple[float, float, tuple[str, str]]
"""A score, the time of the last change, and the place."""


def best_of(
    ranked: Iterable[Ranked], candidates: Sequence[Candidate], *, query: str | None, vector: bytes | None, most: int
) -> list[Ranked]:
    """The best `most` of those that were ranked already and of further candidates. For a thread.

    A candidate with a vector is compared by its meaning, and one with a text by its words, of which it must have one.
    """
    if query is None:
        return heapq.nlargest(most, [*ranked, *((0.0, one.changed_at, one.place) for one in candidates)])
    words = words_of(query)
    by_words = [(score, one) for one in candidates if one.text and (score := shared_words(words, one.text)) > 0]
    by_meaning = [] if vector is None else _compared([one for one in candidates if one.vector is not None], vector)
    return heapq.nlargest(
        most, [*ranked, *((score, one.changed_at, one.place) for score, one in (*by_words, *by_meaning))]
    )


def words_of(text: str) -> frozenset[str]:
    """The words of a text, in small letters."""
    return frozenset(WORD.findall(text[:LONGEST_TEXT].casefold()))


def shared_words(words: frozenset[str], text: str) -> float:
    """The part of the words that occur in a text, also within longer words: not every script has spaces."""
    folded = text.casefold()
    return sum(word in folded for word in words) / len(words) if words else 0.0


def _sendable(text: str) -> str:
    """The beginning of a text. A lone half of a surrogate pair, which no request can hold, is replaced."""
    return text[:LONGEST_TEXT].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _compared(candidates: Sequence[Candidate], vector: bytes) -> list[tuple[float, Candidate]]:
    if not candidates:
        return []
    numpy = _numpy()
    rows = numpy.frombuffer(b"".join(one.vector or b"" for one in candidates), "<f4").reshape(len(candidates), -1)
    scores = rows @ numpy.frombuffer(vector, "<f4")
    return list(zip(scores.tolist(), candidates, strict=True))


def _packed(vectors: Sequence[Sequence[float]], expected: int) -> list[bytes]:
    numpy = _numpy()
    rows = numpy.asarray(vectors, dtype="<f4")
    if rows.ndim != 2 or len(rows) != expected or not rows.shape[1] or not numpy.isfinite(rows).all():
        raise ValueError("not one vector for each text")
    lengths = numpy.linalg.norm(rows, axis=1, keepdims=True)
    # A vector of zeros stays one: it is near to nothing.
    return [row.tobytes() for row in rows / numpy.where(lengths == 0, 1, lengths)]


def _numpy() -> Any:
    # Late: a service whose graphs remember nothing does not need it.
    with IMPORT_LOCK:
        import numpy

    return numpy

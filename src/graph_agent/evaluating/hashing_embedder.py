"""Embeddings without a model, the same on every machine. Texts that share words are near each other."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Counts the words of a text, each word in one of 1,024 dimensions."""

    dimension = 1024
    name = "hashing-1024"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector for each text."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in _WORD.findall(text.lower()):
                place = int.from_bytes(hashlib.sha256(word.encode()).digest()[:2], "big") % self.dimension
                vectors[row, place] += 1.0
        unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1.0)
        return unit

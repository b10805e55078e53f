"""Embeds texts as vectors with all-MiniLM-L6-v2, quantized to int8, on onnxruntime."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from graph_agent.errors import LocalModelFailed

Vector = NDArray[np.float32]
Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """Turns texts into unit vectors, so that a dot product is their cosine."""

    @property
    def name(self) -> str:
        """The name of the model and its version. Documents embedded under another name are embedded again."""

    @property
    def dimension(self) -> int:
        """Number of components of each vector."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One L2-normalized row for each text. May be called from several threads."""


class MiniLMEmbedder:
    """all-MiniLM-L6-v2 from its files `model.onnx` and `tokenizer.json`.

    It reads the first 256 tokens of a text and gives 384 numbers. So many texts are embedded at the same time as there
    are `threads`. Raises `LocalModelFailed` if a file cannot be loaded.
    """

    name = "all-MiniLM-L6-v2-int8"
    dimension = 384

    def __init__(self, model: str | os.PathLike[str], tokenizer: str | os.PathLike[str], *, threads: int = 2) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(os.fspath(tokenizer))
            self._session = onnxruntime.InferenceSession(os.fspath(model), session_options())
        # Both libraries raise plain `Exception` for missing and for damaged files.
        except Exception as error:
            raise LocalModelFailed(
                "The embedding model could not be loaded: run `graph-agent model` to fetch it again."
            ) from error
        self._tokenizer.enable_truncation(max_length=256)
        self._tokenizer.no_padding()
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._threads = TextThreads(threads)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector for each text, in order."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.stack(self._threads.each(self._embed_one, texts))

    def pieces(self, text: str) -> int:
        """The number of pieces that the model's tokenizer cuts a text into: about one for each English word."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _embed_one(self, text: str) -> Vector:
        # Never in batches. Quantization scales by the whole batch, so a text's vector would depend on the other texts.
        # Without the padding that batches need, it is also three times as fast and takes half the memory.
        encoding = self._tokenizer.encode(text)
        ids = np.array([encoding.ids], dtype=np.int64)
        mask = np.array([encoding.attention_mask], dtype=np.int64)
        # Some exports of the model have no `token_type_ids`, so only the inputs that it has are passed.
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: feed[name] for name in self._inputs})[0][0]
        return unit(masked_mean(hidden, mask[0]))


class TextThreads:
    """Threads that embed several texts at the same time, each text in one thread.

    Two threads that share the work on each text wait for each other in every layer: they took 10 to 12 s for 240
    passages, two threads with texts of their own 7.8 s, and one thread 14 to 16 s.
    """

    def __init__(self, threads: int) -> None:
        # They start with the first texts, and end with this object.
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embedding")

    def each(self, embed: Callable[[str], Vector], texts: Sequence[str]) -> list[Vector]:
        """The vector of each text, in order."""
        return [embed(texts[0])] if len(texts) == 1 else list(self._pool.map(embed, texts))


def session_options() -> onnxruntime.SessionOptions:
    """Options for a session that works in the thread of its caller."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The arena would never free the memory that the longest text took.
    options.enable_cpu_mem_arena = False
    return options


def masked_mean(hidden: Vectors, mask: NDArray[np.int64]) -> Vector:
    """The mean over the tokens that the mask selects."""
    mean: Vector = hidden[mask.astype(bool)].mean(axis=0)
    return mean


def unit(vector: Vector) -> Vector:
    # The lower bound avoids a division by zero.
    scaled: Vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return scaled.astype(np.float32)

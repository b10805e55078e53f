"""The real embedding model, from the cache folder that `GRAPH_AGENT_CACHE_DIR` names; `make setup` fills it."""

import os
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from graph_agent.errors import LocalModelFailed
from graph_agent.local.index.embedder import MiniLMEmbedder, TextThreads, Vector
from graph_agent.local.index.index import Index
from graph_agent.local.weights.fetch import is_verified
from graph_agent.local.weights.known_weights import MINILM, MINILM_TOKENIZER
from graph_agent.settings import default_cache_dir

PASSAGES = {
    "membership.md": "# Membership\n\nYou may end your contract at the close of any month by letter.\n",
    "kitchen.md": "# Kitchen\n\nThe oven must be cleaned with vinegar after every use.\n",
    "travel.md": "# Travel\n\nTrains are booked by the office; aeroplanes need approval.\n",
}


@pytest.fixture(scope="module")
def minilm() -> MiniLMEmbedder:
    cache = Path(os.environ.get("GRAPH_AGENT_CACHE_DIR") or default_cache_dir(os.environ))
    paths = [cache / weights.file_name for weights in (MINILM, MINILM_TOKENIZER)]
    if not all(is_verified(path, weights) for path, weights in zip(paths, (MINILM, MINILM_TOKENIZER), strict=True)):
        pytest.fail("the embedding model is not in the cache folder; `graph-agent model` fetches it")
    return MiniLMEmbedder(*paths)


@pytest.mark.local_model
def test_a_text_has_one_unit_vector_whatever_stands_beside_it(minilm: MiniLMEmbedder) -> None:
    alone = minilm.embed(["The oven is hot."])
    among = minilm.embed(["A " * 3000, "The oven is hot.", ""])
    assert (alone.shape, alone.dtype) == ((1, minilm.dimension), np.dtype(np.float32))
    assert np.array_equal(alone[0], among[1])
    assert np.linalg.norm(among, axis=1) == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)
    assert minilm.embed([]).shape == (0, minilm.dimension)


@pytest.mark.local_model
def test_a_question_finds_its_passage_without_sharing_a_word_with_it(minilm: MiniLMEmbedder, tmp_path: Path) -> None:
    for name, text in PASSAGES.items():
        (tmp_path / name).write_text(text)
    with Index.open(tmp_path / "index.db", minilm) as index:
        index.sync([tmp_path])
        best = index.search("How can I cancel my subscription?", k=1)[0]
        nothing = index.search("Which team won the football cup?", k=1)
    assert best.chunk.title == "Membership"
    assert [hit for hit in nothing if hit.score >= 0.2] == []


def test_several_texts_are_embedded_at_the_same_time_and_keep_their_order() -> None:
    both = Barrier(2, timeout=30)

    def embed(text: str) -> Vector:
        both.wait()
        return np.array([len(text)], dtype=np.float32)

    assert TextThreads(2).each(embed, ["one", "three"]) == [3, 5]


def test_a_text_that_cannot_be_embedded_fails_them_all() -> None:
    def embed(text: str) -> Vector:
        raise LocalModelFailed(text)

    with pytest.raises(LocalModelFailed, match="one"):
        TextThreads(2).each(embed, ["one", "three"])


def test_files_that_are_no_model_are_reported(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(LocalModelFailed):
        MiniLMEmbedder(tmp_path / "model.onnx", tmp_path / "tokenizer.json")

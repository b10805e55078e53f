"""What the local workspace says while it prepares itself and nobody looks at a terminal."""

import time
from pathlib import Path
from typing import Any

import pytest
from tests.local.conftest import HashingEmbedder

from graph_agent.local import preparation
from graph_agent.local.model.local_model import LocalModel
from graph_agent.settings import Settings


@pytest.fixture(autouse=True)
def quick_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph_agent.work_lines.LINE_SECONDS", 0.05)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    model = tmp_path / "mine.gguf"
    model.touch()
    return Settings(cache_dir=tmp_path / "cache", config=tmp_path / "langgraph.json", local_model=str(model))


def test_a_model_that_takes_long_to_load_says_so_now_and_then(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(path: Path, options: Any) -> None:
        time.sleep(0.5)

    monkeypatch.setattr(LocalModel, "open", load)
    preparation.chat_backend(settings)
    first, *more = capsys.readouterr().err.splitlines()
    assert first == "loading mine.gguf"
    assert len(more) >= 2
    assert all(line.startswith("loading mine.gguf, after ") for line in more)


def test_a_download_in_a_log_is_told_in_lines_and_not_only_when_it_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with preparation.downloading("model x") as progress:
        assert capsys.readouterr().err == ""
        progress(0, 5_000_000)
        assert capsys.readouterr().err == "fetching model x: 0 of 5 MB\n"
        progress(2_000_000, 5_000_000)
        time.sleep(0.3)
        later = capsys.readouterr().err
        assert later.startswith("fetching model x: 2 of 5 MB, after ")
        progress(5_000_000, 5_000_000)
    assert capsys.readouterr().err.splitlines()[-1].startswith("fetching model x: 5 of 5 MB")
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_documents_that_are_read_are_told_in_lines_without_the_control_characters_of_a_terminal(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "returns.md").write_text("# Returns\n\nGoods may be returned within 45 days.\n")
    preparation.index_documents(
        [str(tmp_path / "returns.md")], settings=settings, embedder=HashingEmbedder(), name="main.shop.policy"
    )
    said = capsys.readouterr().err
    assert said.startswith("indexing ")
    assert "1/1 documents" in said
    assert "\x1b" not in said

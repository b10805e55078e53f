"""`make bench-index` measures a large index, and the documentation shows what it measured."""

import json
import re
from pathlib import Path

import pytest
from bench.index_search import index_plot, main, published_index

ROOT = Path(__file__).parents[2]
FIGURES = json.loads((ROOT / "bench" / "index_figures.json").read_text(encoding="utf-8"))
SHOWN = re.compile(r"<!-- index: begin -->\n(.*?)\n<!-- index: end -->", re.DOTALL)


def test_an_index_is_searched_at_each_size_that_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "figures.json", tmp_path / "plot.svg"
    sizes = ["--passages", "260", "130", "--queries", "2"]
    assert main([*sizes, "--json", str(files[0]), "--plot", str(files[1])]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^(\d+) passages;", said, re.MULTILINE) == ["130", "260"]
    figures = json.loads(files[0].read_text(encoding="utf-8"))
    assert [(one["passages"], one["kind"]) for one in figures] == [
        (size, kind) for size in (130, 260) for kind in ("ANN", "HYBRID", "FULL_TEXT")
    ]
    assert set(figures[0]) == set(FIGURES[0])
    assert files[1].read_text(encoding="utf-8") == index_plot(figures)


def test_the_table_and_the_plot_of_the_page_are_those_of_the_committed_figures() -> None:
    shown = SHOWN.search((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"))
    assert shown is not None
    assert shown[1] == published_index(FIGURES)
    assert (ROOT / "docs" / "images" / "index-search.svg").read_text(encoding="utf-8") == index_plot(FIGURES)

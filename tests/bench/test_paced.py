"""Figures of streams as models write them: compared with the floor of the same number of streams, and published."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

from bench.paced import OURS, Host, Paced, paced_figures, paced_report, plot, published_paced
from bench.processes import Server
from bench.rows import FLOOR, ROWS

ROOT = Path(__file__).parents[2]
FIGURES = json.loads((ROOT / "bench" / "figures.json").read_text(encoding="utf-8"))["paced"]
SHOWN = re.compile(r"<!-- paced: begin -->\n(.*?)<!-- paced: end -->", re.DOTALL)


def one(name: str, streams: int, tokens_per_second: float) -> Paced:
    row = next(row for row in ROWS if row.name == name)
    return Paced(row, streams, tokens_per_second, 100.0, 0.5, 0.08, 0.03, 400.0)


FOUND = [one(FLOOR, 10, 200), one(OURS, 10, 200), one(FLOOR, 300, 4000), one(OURS, 300, 6000)]


def test_each_row_is_compared_with_the_floor_of_as_many_streams() -> None:
    assert [figures["tokens_to_floor"] for figures in paced_figures(FOUND)] == [1.0, 1.0, 1.0, 1.5]
    assert "graph-agent, tracing off               6,000     1.50" in paced_report(FOUND)


def test_the_memory_of_streams_counts_from_that_at_rest_in_the_same_process() -> None:
    """However much of it the server had given back before they began."""
    host = Host(ROWS[0], Server.__new__(Server), rest_mb=100.0)
    assert [host.kb_per_stream(most, streams) for most, streams in ((104.0, 10), (250.0, 300))] == [400.0, 500.0]
    assert host.kb_per_stream(99.5, 1) == 0.0


def test_the_figures_of_streams_as_models_write_them_can_be_published() -> None:
    """So that the next file of `--json` has what the pages show."""
    found = json.loads(json.dumps(paced_figures(FOUND)))
    assert set(found[0]) == set(FIGURES[0])
    assert "| 300 | graph-agent | 6,000 | 1.50 x | 100 µs | 0.50 s | 80 ms | 30 ms | 400 KB |" in published_paced(found)
    drawn = ElementTree.fromstring(plot(found))
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == len(FOUND)


def test_the_documentation_shows_the_table_and_the_plot_of_the_committed_benchmark() -> None:
    shown = SHOWN.search((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"))
    assert shown is not None
    assert shown[1].split() == published_paced(FIGURES).split()
    assert (ROOT / "docs" / "images" / "paced.svg").read_text(encoding="utf-8") == plot(FIGURES)

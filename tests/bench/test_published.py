"""The figures in the README and in the documentation are those of the last benchmark that was committed."""

import json
import re
from pathlib import Path

import pytest
from bench.figures import QUICK, Result, Visit
from bench.rows import ROWS
from bench.table import PUBLISHED, figures, published

ROOT = Path(__file__).parents[2]
FIGURES = json.loads((ROOT / "bench" / "figures.json").read_text(encoding="utf-8"))
SHOWN = re.compile(r"<!-- figures: begin -->\n(.*?)<!-- figures: end -->", re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_the_figures_of_a_page_are_those_of_the_committed_benchmark(page: str) -> None:
    shown = SHOWN.search((ROOT / page).read_text(encoding="utf-8"))
    assert shown is not None
    # Lines may be broken in another place.
    assert shown[1].split() == published(FIGURES).split()


def test_the_figures_in_the_sentence_of_the_readme_are_those_of_the_benchmark() -> None:
    floor, ours, other = [
        FIGURES["rows"][name]["cpu_us_per_token"] for name in ("floor", "graph-agent-traced", "agentserver-autolog")
    ]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"needs {other / ours:.1f} times the CPU time" in text
    assert f"loop needs {floor} µs of CPU time for a token, and graph-agent with its traces {ours} µs" in text


def test_the_figures_of_a_benchmark_can_be_published() -> None:
    """So that the next file of `--json` has what the pages show."""
    visit = Visit(
        first_event_ms=1.26, first_token_ms=2, tokens_per_second=1000, frames_per_second=1000, cpu_us_per_token=70.4
    )
    results = [Result(row, memory_mb=100, visits=[visit, visit]) for row in ROWS if row.name in PUBLISHED]
    found = json.loads(json.dumps(figures(results, QUICK, load=0.51, taken=0.034)))
    assert set(found) == set(FIGURES)
    assert set(found["rows"]["floor"]) == set(FIGURES["rows"]["floor"])
    assert "| graph-agent, tracing on | 70 µs | 1.00 x | 100 MB |" in published(found)
    assert "load was 0.5 before. The machine's host took 3% of the processor time" in published(found)
    assert found["rounds"] == 2

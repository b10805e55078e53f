"""`make eval-retrieval`: how often the passages that a model sees come from the right documents, in seconds.

The questions, documents and floors are in `evals/retrieval`. No language model is asked: each row says what a planner
searches for. Exits with status 1 if a figure is below its floor.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from graph_agent.evaluating.project_files import import_file
from graph_agent.local import preparation
from graph_agent.local.index.embedder import Embedder
from graph_agent.local.index.other_languages import OtherLanguages
from graph_agent.processes.shutdown import exit_now
from graph_agent.settings import Settings

from .asking import Found, ask, workspace
from .corpus import PROJECT, indexed
from .rows import HERE, rows

FLOORS = HERE / "floors.json"

Figures = dict[str, dict[str, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask every row, print the figures and those that are too low, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make eval-retrieval", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--half", choices=("tuning", "held_out"), help="only the rows of this half")
    parser.add_argument("--missed", action="store_true", help="list the rows of the tuning half that miss a document")
    options = parser.parse_args(arguments)
    settings = Settings.from_environment()
    folder = settings.cache_dir / "eval-retrieval"
    embedder = preparation.embedder(settings)
    languages = preparation.other_languages(settings, embedder)
    found, milliseconds = asyncio.run(asked(folder, embedder, languages, half=options.half))
    figures = figures_of(found)
    console = Console(highlight=False, soft_wrap=True)
    for line in table(figures):
        console.out(line)
    half, most = statistics.median(milliseconds), max(milliseconds)
    console.out(f"one search: {half:.0f} ms at the median, {most:.0f} ms at most")
    for one in found if options.missed else ():
        if not one.complete and one.row.half == "tuning":
            console.out(f"{one.row.id}: {one.row.question}", *(source.doc_uri for source in one.sources), sep="\n    ")
    low = too_low(figures, json.loads(FLOORS.read_text(encoding="utf-8")))
    for line in low:
        console.out(line)
    return 1 if low else 0


async def asked(
    folder: Path, embedder: Embedder, languages: OtherLanguages | None, *, half: str | None
) -> tuple[list[Found], list[float]]:
    """What the flagship's retriever finds for each row, and how many milliseconds each took."""
    flagship: Any = import_file(PROJECT / "graphs" / "assistant.py", root=PROJECT)
    retrieve = flagship.builder.nodes["retriever"].runnable
    found, milliseconds = [], []
    with indexed(folder, embedder, languages) as index, workspace(index, embedder) as app, app.entered():
        await flagship.documents.warm()
        for row in rows():
            if half in (None, row.half):
                began = time.perf_counter()
                found.append(await ask(retrieve, row, flagship.documents.name))
                milliseconds.append((time.perf_counter() - began) * 1000)
        await app.aclose()
    return found, milliseconds


def figures_of(found: Sequence[Found]) -> Figures:
    """For each kind and half: how often all documents were found, how early, and how many passages differ."""
    groups: dict[str, list[Found]] = {}
    for one in found:
        groups.setdefault(f"{one.row.kind} {one.row.half}", []).append(one)
    return {
        name: {
            "rows": len(group),
            "recall": statistics.mean(one.complete for one in group),
            "mrr": statistics.mean(one.reciprocal_rank for one in group),
            "passages": statistics.mean(len(one.sources) for one in group),
            "different": statistics.mean(one.different / max(len(one.sources), 1) for one in group),
        }
        for name, group in sorted(groups.items())
    }


def table(figures: Figures) -> Sequence[str]:
    """The figures as lines of text."""
    head = f"{'kind and half':24}{'rows':>6}{'recall':>8}{'mrr':>8}{'passages':>10}{'different':>11}"
    return [
        head,
        *(
            f"{name:24}{one['rows']:6.0f}{one['recall']:8.2f}{one['mrr']:8.2f}{one['passages']:10.1f}{one['different']:11.2f}"
            for name, one in figures.items()
        ),
    ]


def too_low(figures: Figures, floors: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A sentence for each figure below its floor."""
    return [
        f"{name}: {metric} is {figures[name][metric]:.2f}, and must be at least {floor}"
        for name, least in floors.items()
        if name in figures
        for metric, floor in least.items()
        if figures[name][metric] < floor
    ]


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The thread that imports the search tool may be in a native library, which ends a normal exit with an error.
    exit_now(status)

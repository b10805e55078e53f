"""`make eval-retrieval`: the flagship's own retriever over real routes, and figures that fall with what it finds."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from databricks.ai_search.async_utils import aclose_all_clients
from evals.retrieval.__main__ import figures_of, too_low
from evals.retrieval.asking import Found, ask, workspace
from evals.retrieval.rows import Row, document_of, rows

from graph_agent.evaluating.hashing_embedder import HashingEmbedder
from graph_agent.local.index.index import Index
from graphs import assistant

pytestmark = pytest.mark.anyio

PAGES = {
    "docs/pumps.md": "# Pumps\n\nThe pump runs at forty bar.",
    "docs/fans.md": "# Fans\n\nThe fan turns at nine hundred revolutions.",
    "copies/archive/docs/pumps.md": "# Pumps\n\nThe pump runs at forty bar.",
}


def row(question: str, *documents: str, id: str = "single-01") -> Row:
    return Row(
        id=id, kind="single", half="tuning", question=question, query=question, documents=[[one] for one in documents]
    )


@pytest.fixture
async def closed_connections() -> AsyncIterator[None]:
    yield
    await aclose_all_clients()


async def found_for(asked: Row, folder: Path) -> Found:
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    embedder = HashingEmbedder()
    with (
        Index.open(folder / "index.sqlite", embedder) as index,
        workspace(index, embedder) as app,
        app.entered(),
    ):
        index.sync([folder / "docs", folder / "copies"])
        found = await ask(assistant.builder.nodes["retriever"].runnable, asked, assistant.documents.name)
        await app.aclose()
    return found


@pytest.mark.usefixtures("closed_connections")
async def test_a_row_is_complete_if_the_flagship_finds_all_its_documents_or_copies_of_them(tmp_path: Path) -> None:
    found = await found_for(row("At how many bar does the pump run?", "docs/pumps.md"), tmp_path)
    assert (found.rank(["docs/pumps.md"]), found.complete) == (1, True)


@pytest.mark.usefixtures("closed_connections")
async def test_a_row_whose_document_is_missing_lowers_recall_below_its_floor(tmp_path: Path) -> None:
    found = await found_for(row("At how many bar does the pump run?", "docs/pumps.md", "docs/valves.md"), tmp_path)
    assert not found.complete
    figures = figures_of([found])
    assert figures["single tuning"]["recall"] == 0
    floors = {"single tuning": {"recall": 0.5, "mrr": 0.5}, "multi tuning": {"recall": 1.0}}
    assert too_low(figures, floors) == ["single tuning: recall is 0.00, and must be at least 0.5"]


def test_every_row_has_a_half_an_id_of_its_own_and_documents_that_exist() -> None:
    known = rows()
    project = Path(__file__).parents[2]
    assert len({one.id for one in known}) == len(known)
    assert {one.half for one in known} == {"tuning", "held_out"}
    names = {name for one in known for names in one.documents for name in names}
    folders = [project, project / "evals" / "retrieval"]
    assert [name for name in sorted(names) if not any((folder / name).is_file() for folder in folders)] == []


def test_a_copy_has_the_name_of_its_original() -> None:
    assert document_of("copies/team-a/docs/settings.md#settings-for-the-model") == "docs/settings.md"
    assert document_of("README.md#start") == "README.md"
    assert re.match("corpus/", document_of("corpus/ja/lease.md"))

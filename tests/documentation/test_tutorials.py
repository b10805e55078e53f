"""Each tutorial, followed from an empty folder by the real commands, with the printed output compared."""

from pathlib import Path

import pytest
from tests.documentation.answers import PAGES
from tests.documentation.following import ROOT, WrongPage, follow
from tests.documentation.scripted_model import scripted_model

TUTORIALS = ROOT / "docs" / "tutorials"


def test_every_tutorial_is_followed() -> None:
    assert sorted(path.stem for path in TUTORIALS.glob("*.md")) == sorted(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_reader_gets_what_the_tutorial_shows(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with scripted_model(PAGES[name].answers, PAGES[name].unanswerable) as url:
        assert follow(TUTORIALS / f"{name}.md", tmp_path / "empty", url) > 4


MISTAKES = {
    "a wrong flag": ("```console\n$ graph-agent init --nme shop\n…\n```\n", "exit status 2"),
    "an output that is not printed": (
        "```console\n$ graph-agent init shop\nwrote 99 files to shop\n…\n```\n",
        "shown: wrote 99",
    ),
    "a command that fails": ("```bash\nfalse\n```\n", "exit status 1"),
    "a wrong file": ('```json title="langgraph.json"\n{"graphs": }\n```\n', "this is not json"),
    "a file elsewhere": ('```text title="../langgraph.json"\n```\n', "outside the reader's folder"),
    "a graph without its import": (
        '```python title="mine.py"\ngraph = StateGraph(dict)\n```\n'
        '```json title="langgraph.json"\n{"graphs": {"mine": "./mine.py:graph"}}\n```\n'
        "```console\n$ graph-agent serve\n…\nINFO … Uvicorn running …\n```\n",
        "NameError",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_page_is_found(tmp_path: Path, mistake: str) -> None:
    page, told = MISTAKES[mistake]
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongPage, match=r"page\.md:") as wrong:
        follow(tmp_path / "page.md", tmp_path / "empty", "http://127.0.0.1:9/v1")
    assert told in str(wrong.value)

"""The pages for readers who come from elsewhere, each followed from an empty folder by the real commands."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.documentation.following import ROOT, follow
from tests.documentation.scripted_model import Answers, scripted_model

from graph_agent.testing import Call

COMING = ROOT / "docs" / "coming-from"

ANSWERS: Mapping[str, Answers] = {
    "app-templates": {
        "Are you open on Saturday?": [
            Call("opening_hours", {"day": "Saturday"}),
            "On Saturday we are open from 10 to 14.",
        ]
    },
    "fastapi": {"Hello, I am Ann.": ["Hello, Ann."]},
    "langgraph-dev": {},
    "mlflow-agentserver": {},
}
"""What the model answers on each page."""


def test_every_page_is_followed() -> None:
    assert sorted(path.stem for path in COMING.glob("*.md")) == sorted(ANSWERS)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_reader_gets_what_the_page_shows(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with scripted_model(ANSWERS[name]) as url:
        assert follow(COMING / f"{name}.md", tmp_path / "empty", url) >= 3

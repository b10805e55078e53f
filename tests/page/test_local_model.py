"""One flow with nothing scripted: `graph-agent dev`, the real local model, and a browser."""

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.page.conftest import OpenPage, Site
from tests.page.reader import Reader
from tests.page.talking import Talk
from tests.starting.starts import ROOT, starting


@pytest.mark.local_model
def test_the_page_of_dev_streams_the_answer_of_the_local_model(tmp_path: Path, open_page: OpenPage) -> None:
    shutil.copy(ROOT / "graphs" / "starter.py", tmp_path / "starter.py")
    (tmp_path / "langgraph.json").write_text(
        '{"graphs": {"starter": {"path": "./starter.py:graph", "example_questions": ["What is two plus two?"]}}}'
    )
    chosen = {"GRAPH_AGENT_LOCAL_MODEL": "qwen-1.5b", "GRAPH_AGENT_STORE": f"sqlite:{tmp_path}/store.db"}
    with starting(tmp_path, "dev", environ=chosen) as start:
        assert start.ready(), start.said
        page = open_page(Site(f"http://127.0.0.1:{start.port}", Talk()))
        page.get_by_role("button", name="What is two plus two?").click()
        reader = Reader(page)
        expect(reader.last.locator(".answer-text")).to_contain_text(re.compile("4|four", re.I), timeout=120_000)
        reader.wait()
        expect(reader.last).to_contain_text("tokens")

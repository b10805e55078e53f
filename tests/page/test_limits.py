"""A person at the own limit of tokens, and the table of usage, in a browser."""

import re

from playwright.sync_api import expect
from tests.graphs.scripted import says
from tests.page.conftest import OpenPage, site
from tests.page.reader import Reader
from tests.page.test_access import faults
from tests.runs.running import chain, speaking

from graph_agent.testing import Usage


def test_a_person_at_the_limit_goes_on_and_sees_what_was_used(tmp_path, open_page: OpenPage) -> None:
    graph = chain(speaking(says("Here you are.", usage=Usage(1500, 100))))
    limits = {"max_output_tokens": 200, "limit_user_tokens_per_day": 1700, "limit_user_extra_tokens": 1000}
    with site(tmp_path, {"talk": graph}, operators="local", **limits) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.ask("one")
        reader.say("two")
        question = page.get_by_role("group", name=re.compile("Your limit of 1,700 tokens per day is reached"))
        expect(question).to_contain_text("Go on with 1,000 more?")
        assert faults(page) == []
        reader.press("Yes", within=question)
        expect(reader.last).to_contain_text("Here you are.")
        reader.press("Data and memory")
        dialog = page.get_by_role("dialog", name="Data and memory")
        cells = dialog.get_by_role("row").last.get_by_role("cell")
        expect(cells).to_have_text(["local", "talk", "scripted", "2", "3,000", "200", "3,200"])
        assert faults(page) == []

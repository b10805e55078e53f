"""The drawing of the graph, and the choice between several, in a browser."""

import re

from playwright.sync_api import expect
from tests.page.conftest import OpenPage, site
from tests.page.reader import Reader
from tests.page.talking import Talk
from tests.page.test_access import faults


def test_the_node_that_runs_is_lit_and_those_that_ran_have_their_times(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.press("Show the graph")
        nodes = page.get_by_role("list", name="Nodes of the graph").get_by_role("listitem")
        planner = nodes.filter(has_text=re.compile("planner", re.I))
        expect(planner).to_have_count(1)
        reader.say("wait")
        expect(planner).to_contain_text("runs now")
        served.talk.go_on.set()
        reader.wait()
        expect(planner).to_contain_text(re.compile(r"\d+(\.\d+)? s"))
        assert faults(page) == []
        reader.press("Hide the graph")
        expect(nodes).to_have_count(0)


def test_a_person_chooses_between_several_graphs(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path, graphs={"talk": Talk().graph(), "other": Talk().graph()}) as served:
        page = open_page(served)
        reader = Reader(page)
        page.get_by_label("Assistant").select_option("other")
        with page.expect_request("**/v1/responses") as asked:
            reader.ask("hello")
        assert asked.value.post_data_json["model"] == "other"

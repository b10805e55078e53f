"""The drawing of the graph, and the choice between several, in a browser."""

import re
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
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


def team(size: int) -> Any:
    """A graph with so many nodes in a graph within it."""
    inside, last = StateGraph(MessagesState), START
    for number in range(size):
        inside.add_node(f"step{number}", lambda _: {"messages": []})
        inside.add_edge(last, f"step{number}")
        last = f"step{number}"
    builder = StateGraph(MessagesState)
    builder.add_node("team", inside.compile())
    builder.add_node("answer", lambda _: {"messages": [AIMessage("Done.")]})
    builder.add_edge(START, "team")
    builder.add_edge("team", "answer")
    builder.add_edge("answer", END)
    return builder.compile()


def test_a_graph_within_the_graph_is_a_box_and_a_large_graph_is_drawn_without_it(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path, graphs={"small": team(2), "large": team(130)}, default_graph="small", max_steps=200) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.press("Show the graph")
        nodes = page.get_by_role("list", name="Nodes of the graph").get_by_role("listitem")
        reader.ask("go")
        expect(nodes).to_have_text([re.compile(f"{one}: has run") for one in ("step0", "step1", "answer")])
        expect(nodes.first).to_contain_text(re.compile("team . step0"))
        expect(page.locator(".graph-box text")).to_have_text("team")
        reader.press("New chat")
        page.get_by_label("Assistant").select_option("large")
        expect(page.get_by_text("This graph is large. Only its outer nodes are shown.")).to_be_visible()
        expect(nodes).to_have_text(["team: has not run", "answer: has not run"])
        assert faults(page) == []

"""Rating an answer, in a browser."""

from pathlib import Path

from playwright.sync_api import expect
from tests.page.conftest import OpenPage, site
from tests.page.reader import Reader
from tests.serving.test_feedback import TrackingServer

from graph_agent.testing import on_loopback


def test_a_rating_with_its_comment_reaches_the_trace_and_is_there_after_a_reload(
    tmp_path: Path, open_page: OpenPage
) -> None:
    server = TrackingServer()
    with (
        on_loopback(server.app()) as url,
        site(tmp_path, tracing="on", tracking_uri=url, trace_url="https://traces.example/{trace_id}") as served,
    ):
        page = open_page(served)
        expect(Reader(page).ask("one")).to_contain_text("You said: one")
        page.get_by_role("button", name="Bad answer").click()
        page.get_by_label("Comment on the answer").fill("Too short.")
        page.get_by_role("button", name="Send comment").click()
        expect(page.get_by_label("Comment on the answer")).to_have_count(0)
        link = page.get_by_role("link", name="Open the trace")
        address = link.get_attribute("href") or ""
        page.reload()
        expect(page.get_by_role("button", name="Bad answer", pressed=True)).to_be_visible()
        expect(link).to_have_attribute("href", address)
    (made,) = server.assessments.values()
    assert (made["feedback"], made["rationale"]) == ({"value": False}, "Too short.")
    assert made["trace_id"] in server.traces
    assert address == f"https://traces.example/{made['trace_id']}"

"""Asking, in a browser."""

import re

from playwright.sync_api import expect
from tests.page.conftest import OpenPage, Site, site
from tests.page.reader import Reader
from tests.page.test_access import faults


def test_an_answer_is_rendered_as_markdown(shared: Site, open_page: OpenPage) -> None:
    shared.talk.said["table"] = (
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n\nThe **end**, at $x_1 * y_1$."
    )
    answer = Reader(open_page(shared)).ask("say table")
    expect(answer.get_by_role("table")).to_contain_text("1")
    expect(answer.get_by_role("strong")).to_have_text("end")
    expect(answer).to_contain_text("at $x_1 * y_1$.")
    expect(answer.get_by_role("figure").get_by_role("button", name="Copy")).to_be_visible()


def test_the_next_message_goes_on_in_the_same_conversation(shared: Site, open_page: OpenPage) -> None:
    page = open_page(shared)
    reader = Reader(page)
    expect(reader.ask("one")).to_contain_text("You said: one")
    address = page.url
    expect(reader.ask("two")).to_contain_text("You said: two")
    assert page.url == address
    assert "#/c/conv_" in address


def test_steps_show_what_the_graph_did_with_times_and_documents(shared: Site, open_page: OpenPage) -> None:
    answer = Reader(open_page(shared)).ask("search hours")
    worked = answer.get_by_text(re.compile(r"Worked for .* · \d steps"))
    worked.click()
    search = answer.get_by_role("listitem").filter(has_text="found 2 documents")
    search.locator("summary").first.click()
    expect(search).to_contain_text("score 0.90")
    expect(search).to_contain_text("Search: hours")


def test_the_times_and_documents_of_an_answer_are_the_same_after_a_reload(shared: Site, open_page: OpenPage) -> None:
    page = open_page(shared)
    answer = Reader(page).ask("search hours")
    worked = answer.get_by_text(re.compile(r"Worked for .* · \d steps"))
    before = worked.inner_text()
    page.reload()
    expect(worked).to_have_text(before)
    worked.click()
    expect(answer.get_by_role("listitem").filter(has_text="found 2 documents")).to_be_visible()


def test_a_tool_call_shows_its_arguments_and_its_result(shared: Site, open_page: OpenPage) -> None:
    answer = Reader(open_page(shared)).ask("weather Rome")
    answer.get_by_text(re.compile("Worked for")).click()
    answer.locator("summary").filter(has_text="Weather").click()
    expect(answer.get_by_label("Arguments of weather")).to_contain_text('"city": "Rome"')
    expect(answer.get_by_label("Result of weather")).to_contain_text("21 degrees in Rome")


def test_a_failed_tool_is_marked(shared: Site, open_page: OpenPage) -> None:
    answer = Reader(open_page(shared)).ask("weather Atlantis")
    answer.get_by_text(re.compile("Worked for")).click()
    expect(answer.locator("summary").filter(has_text="Weather")).to_contain_text("failed")
    expect(answer).not_to_contain_text("no such city")


def test_reasoning_is_a_line_that_opens(shared: Site, open_page: OpenPage) -> None:
    answer = Reader(open_page(shared)).ask("think")
    answer.get_by_text(re.compile("Worked for")).click()
    answer.locator("summary").filter(has_text="Thought").click()
    expect(answer.get_by_label("Reasoning")).to_have_text("First this, then that.")


def test_a_citation_shows_its_passage_on_focus_and_on_hover(shared: Site, open_page: OpenPage) -> None:
    page = open_page(shared)
    answer = Reader(page).ask("search hours")
    mark = answer.get_by_role("link", name="Source 2: The museum")
    mark.focus()
    expect(page.get_by_role("tooltip")).to_contain_text("The museum closes at 6 o'clock.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_have_count(0)
    answer.get_by_role("link", name="Source 1: The library").hover()
    expect(page.get_by_role("tooltip")).to_contain_text("The library closes at 8 o'clock.")
    expect(mark).to_have_attribute("href", "https://docs.example/museum")


def test_stop_ends_the_run_and_keeps_what_was_read(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        reader = Reader(open_page(served))
        reader.say("wait")
        expect(reader.last).to_contain_text("The first half.")
        reader.press("Stop the answer")
        reader.wait()
        expect(reader.field).to_be_focused()
        expect(reader.last).to_contain_text("The first half.")
        expect(reader.last).to_contain_text("This answer was stopped.")
        served.talk.go_on.set()
        expect(reader.ask("next")).to_contain_text("You said: next")


def test_what_is_said_while_an_answer_is_written_waits_and_is_answered_next(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.say("wait")
        expect(reader.last).to_contain_text("The first half.")
        reader.say("one more thing")
        waiting = page.get_by_role("list", name="Messages that wait")
        expect(waiting).to_contain_text("one more thing")
        expect(waiting).to_contain_text("before its next step")
        reader.field.fill("and another")
        reader.press("Send into this answer")
        expect(waiting.get_by_role("listitem").filter(has_text="next step")).to_have_count(2)
        expect(reader.field).to_be_focused()
        page.reload()
        expect(waiting.get_by_role("listitem").filter(has_text="next step")).to_have_count(2)
        expect(waiting).to_contain_text("one more thing")
        assert faults(page) == []
        served.talk.go_on.set()
        expect(reader.turns).to_have_count(2)
        expect(reader.last).to_contain_text("You said: and another")
        reader.wait()
        expect(reader.turns.first).to_contain_text("The first half. The second half.")
        expect(reader.last).to_contain_text("one more thing")
        expect(waiting).to_have_count(0)
        shown = reader.last.inner_text()
        page.reload()
        expect(reader.last).to_have_text(shown, use_inner_text=True)


def test_what_a_stopped_answer_has_not_read_is_sent_again(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.say("wait")
        expect(reader.last).to_contain_text("The first half.")
        reader.say("mine")
        expect(page.get_by_role("list", name="Messages that wait")).to_contain_text("next step")
        reader.press("Stop the answer")
        served.talk.go_on.set()
        reader.press("Send again")
        expect(reader.last).to_contain_text("You said: mine")
        expect(reader.turns).to_have_count(2)


def test_an_edit_is_another_branch_and_the_first_one_stays(shared: Site, open_page: OpenPage) -> None:
    page = open_page(shared)
    reader = Reader(page)
    reader.ask("before")
    reader.ask("old words")
    reader.press("Edit your message", within=reader.last)
    reader.last.get_by_label("Your message").fill("new words")
    page.keyboard.press("Enter")
    expect(reader.last).to_contain_text("You said: new words")
    reader.wait()
    expect(reader.turns).to_have_count(2)
    expect(reader.last).to_contain_text("2/2")
    reader.press("Earlier version", within=reader.last)
    expect(reader.last).to_contain_text("You said: old words")
    page.reload()
    expect(reader.last).to_contain_text("/2")


def test_the_first_message_can_be_edited_too(shared: Site, open_page: OpenPage) -> None:
    page = open_page(shared)
    reader = Reader(page)
    reader.ask("first")
    address = page.url
    reader.press("Edit your message", within=reader.last)
    reader.last.get_by_label("Your message").fill("second")
    page.keyboard.press("Enter")
    expect(reader.last).to_contain_text("You said: second")
    expect(reader.turns).to_have_count(1)
    assert page.url == address


def test_answer_again_is_another_branch_of_the_same_message(shared: Site, open_page: OpenPage) -> None:
    reader = Reader(open_page(shared))
    reader.ask("again")
    reader.press("Answer again", within=reader.last)
    expect(reader.last).to_contain_text("2/2")
    reader.wait()
    expect(reader.last).to_contain_text("You said: again")


def test_the_answer_is_copied_as_its_model_wrote_it(shared: Site, open_page: OpenPage) -> None:
    page = open_page(shared, permissions=["clipboard-read", "clipboard-write"])
    reader = Reader(page)
    reader.ask("say The **bold** word")
    reader.press("Copy the answer", within=reader.last)
    page.wait_for_function("async () => (await navigator.clipboard.readText()) === 'The **bold** word'")


def test_a_failure_says_what_happened_and_can_be_tried_again(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        reader = Reader(open_page(served))
        answer = reader.ask("fail")
        expect(answer.get_by_role("alert")).to_contain_text("The model did not answer")
        expect(answer).to_contain_text("Half an ans")
        reader.press("Try again", within=answer)
        expect(reader.last).to_contain_text("2/2")


def test_a_first_visit_greets_and_offers_questions(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path, page_title="Ask Anna", page_greeting="What can I find?", page_disclaimer="Check it.") as served:
        page = open_page(served)
        expect(page.get_by_role("heading", name="What can I find?")).to_be_visible()
        expect(page.get_by_text("Check it.")).to_be_visible()
        expect(page).to_have_title(re.compile("Ask Anna"))

"""Deciding before a graph acts, in a browser."""

import re

from playwright.sync_api import expect
from tests.page.conftest import OpenPage, site
from tests.page.reader import Reader


def test_approve_runs_the_tool_once(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        reader = Reader(open_page(served))
        asked = reader.ask("mail ann")
        expect(asked.get_by_role("table", name="Arguments of send_mail")).to_contain_text("ann")
        assert served.talk.sent == []
        reader.press("Approve", within=asked)
        expect(reader.last).to_contain_text("Done: sent to ann")
        assert served.talk.sent == ["ann: Hello"]
        expect(reader.turns.first).to_contain_text("You approved this.")


def test_edit_is_a_form_of_the_tools_arguments(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        reader = Reader(open_page(served))
        asked = reader.ask("mail ann")
        reader.press("Edit", within=asked)
        form = asked.get_by_role("form", name="Edit the arguments of send_mail")
        form.get_by_label("to", exact=True).fill("eve")
        form.get_by_label(re.compile("subject", re.I)).fill("Lunch")
        reader.press("Approve with changes", within=form)
        expect(reader.last).to_contain_text("sent to eve")
        assert served.talk.sent == ["eve: Lunch"]


def test_reject_tells_the_reason_and_runs_nothing(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        reader = Reader(open_page(served))
        asked = reader.ask("mail ann")
        reader.press("Reject", within=asked)
        asked.get_by_label("Reason").fill("not today")
        asked.get_by_role("button", name="Reject").last.click()
        expect(reader.last).to_contain_text("not today")
        reader.wait()
        assert served.talk.sent == []


def test_several_are_decided_together(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        reader = Reader(open_page(served))
        asked = reader.ask("mail ann, bob, eve")
        cards = asked.get_by_role("group", name=re.compile("Allow"))
        expect(cards).to_have_count(3)
        reader.press("Reject", within=cards.nth(1))
        cards.nth(1).get_by_role("button", name="Reject").last.click()
        reader.press("Approve the rest", within=asked)
        expect(reader.last).to_contain_text("Done:")
        reader.wait()
        # What was decided about which call is seen without opening it.
        for name, words in {"ann": "You approved", "bob": "You rejected", "eve": "You approved"}.items():
            expect(reader.turns.first.locator("summary").filter(has_text=f"to: {name}")).to_contain_text(words)
        assert sorted(served.talk.sent) == ["ann: Hello", "eve: Hello"]


def test_after_each_decision_the_focus_is_where_the_reader_goes_on(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        reader = Reader(open_page(served))
        asked = reader.ask("mail ann, bob")
        ann, bob = asked.get_by_role("group").filter(has_text="ann"), asked.get_by_role("group").filter(has_text="bob")
        ann.get_by_role("button", name="Approve").press("Enter")
        expect(bob.get_by_role("button", name="Approve")).to_be_focused()
        bob.get_by_role("button", name="Approve").press("Enter")
        expect(asked.get_by_role("button", name="Send decisions (2 of 2)")).to_be_focused()
        bob.get_by_role("button", name="Change").press("Enter")
        expect(bob.get_by_role("button", name="Approve")).to_be_focused()
        reader.press("Approve the rest", within=asked)
        expect(reader.field).to_be_focused()


def test_a_question_waits_through_a_reload(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.ask("mail ann")
        page.reload()
        reader.press("Approve", within=reader.last)
        expect(reader.last).to_contain_text("Done: sent to ann")
        page.reload()
        expect(reader.turns.first).to_contain_text("You approved this.")
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        assert served.talk.sent == ["ann: Hello"]


def test_decisions_that_wait_for_the_others_outlast_a_reload_and_a_message_keeps_the_questions(
    tmp_path, open_page: OpenPage
) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.ask("mail ann, bob")
        reader.press("Approve", within=reader.last.get_by_role("group", name=re.compile("Allow")).first)
        page.reload()
        expect(reader.last.get_by_role("button", name="Send decisions (1 of 2)")).to_be_visible()
        expect(page.get_by_text("The assistant waits for your decision. After a message it asks again")).to_be_visible()
        expect(reader.field).to_have_accessible_description(re.compile("waits for your decision"))
        reader.ask("hello")
        reader.press("Approve all", within=reader.last)
        expect(reader.last).to_contain_text("You said: hello")
        reader.wait()
        assert sorted(served.talk.sent) == ["ann: Hello", "bob: Hello"]
        expect(page.get_by_text("The assistant waits for your decision.")).to_have_count(0)

"""The list of conversations, in a browser."""

import re

from playwright.sync_api import expect
from tests.page.conftest import OpenPage, site
from tests.page.reader import Reader


def test_yesterdays_conversation_is_found_by_a_word_and_opened(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        first = Reader(open_page(served))
        first.ask("All about penguins")
        first.press("New chat", within=first.list)
        first.ask("Something else")
        later = Reader(open_page(served))
        later.page.get_by_label("Search conversations").fill("PENGUIN")
        expect(later.list.get_by_role("listitem")).to_have_count(1)
        later.list.get_by_role("link", name=re.compile("penguins")).click()
        expect(later.last).to_contain_text("You said: All about penguins")
        later.page.get_by_label("Search conversations").fill("")
        expect(later.list.get_by_role("listitem")).to_have_count(2)


def test_a_conversation_is_deleted_while_its_answer_is_written(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.say("wait")
        expect(reader.last).to_contain_text("The first half.")
        reader.choose("wait", "Delete")
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("Deleted.", exact=True)).to_be_attached()
        page.reload()
        expect(reader.list.get_by_text("Your conversations will be here.")).to_be_visible()


def test_rename_pin_and_delete(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        for text in ("alpha", "beta"):
            reader.press("New chat", within=reader.list)
            reader.ask(text)
        reader.choose("alpha", "Rename")
        page.get_by_label("Title of the conversation").fill("Greek letters")
        page.keyboard.press("Enter")
        expect(reader.list.get_by_role("link", name="Greek letters")).to_be_visible()
        reader.choose("Greek letters", "Pin")
        expect(reader.list.get_by_text("Pinned", exact=True)).to_be_visible()
        page.reload()
        expect(reader.list.get_by_role("listitem").first).to_contain_text("Greek letters")
        reader.choose("beta", "Delete")
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(reader.list.get_by_role("listitem")).to_have_count(1)
        expect(page.get_by_text("Deleted.", exact=True)).to_be_attached()
        page.reload()
        expect(reader.list.get_by_role("listitem")).to_have_count(1)


def test_a_conversation_has_an_address_and_back_returns_to_the_one_before(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.ask("first talk")
        address = page.url
        reader.press("New chat", within=reader.list)
        expect(reader.turns).to_have_count(0)
        reader.ask("second talk")
        page.go_back()
        expect(reader.last).to_contain_text("You said: first talk")
        other = Reader(open_page(served, address.removeprefix(served.url)))
        expect(other.last).to_contain_text("You said: first talk")


def test_an_address_of_nobodys_conversation_says_so_and_a_message_starts_another(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served, "/#/c/conv_000000000000000000000000", expected=["Failed to load resource"])
        expect(page.get_by_role("alert")).to_be_visible()
        expect(Reader(page).list.get_by_role("button", name="New chat")).to_be_enabled()
        answer = Reader(page).ask("Anybody here?")
        expect(answer).to_contain_text("You said: Anybody here?")
        assert "conv_000000000000000000000000" not in page.url

"""What is remembered about a person, in a browser."""

import re

from playwright.sync_api import expect
from tests.page.conftest import OpenPage, site
from tests.page.reader import Reader
from tests.page.test_access import faults


def test_a_memory_can_be_read_changed_followed_and_deleted(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.ask("remember The user likes tea.")
        reader.press("New chat", within=reader.list)
        reader.ask("something else")
        reader.press("Data and memory")
        dialog = page.get_by_role("dialog", name="Data and memory")
        memories = dialog.get_by_role("list", name="Memories").get_by_role("listitem")
        expect(memories).to_have_text(re.compile("The user likes tea."))
        assert faults(page) == []
        dialog.get_by_role("button", name=re.compile("^Change")).click()
        dialog.get_by_label("Memory", exact=True).fill("The user likes coffee.")
        reader.press("Save", within=dialog)
        expect(memories).to_contain_text("coffee")
        dialog.get_by_role("button", name=re.compile("^Open the conversation")).click()
        expect(reader.last).to_contain_text("remember The user likes tea.")
        reader.press("Data and memory")
        expect(memories).to_contain_text("coffee")
        dialog.get_by_role("button", name=re.compile("^Delete .The user")).click()
        expect(dialog).to_contain_text("Nothing is remembered about you.")


def test_one_button_deletes_everything_and_says_how_much(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)
        reader.ask("remember The user likes tea.")
        reader.ask("one more")
        reader.press("Data and memory")
        reader.press("Delete everything", within=page.get_by_role("dialog", name="Data and memory"))
        reader.press("Delete everything", within=page.get_by_role("dialog", name="Delete everything?"))
        expect(page.get_by_role("dialog", name="Data and memory")).to_contain_text(
            "Deleted: 1 conversation, 2 answers, 1 memory."
        )
        page.reload()
        expect(reader.list).to_contain_text("Your conversations will be here.")

"""The page for everybody: accessibility rules, the keyboard alone, phones, other scripts."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.page.conftest import OpenPage, Site, site
from tests.page.reader import Reader

AXE = Path(__file__).parents[2] / "page" / "node_modules" / "axe-core" / "axe.min.js"

RULES = "wcag2a wcag2aa wcag21a wcag21aa wcag22aa best-practice"


def faults(page: Page) -> list[str]:
    """What axe finds on the page as it is now."""
    # By the debugger, because the page's policy lets no script in.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "async (tags) => (await axe.run(document, {runOnly: {type: 'tag', values: tags}})).violations"
        ".flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.target.join(' ')}`))",
        RULES.split(),
    )
    return list(found)


@pytest.mark.parametrize("colors", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desk", "phone"])
def test_axe_finds_nothing(tmp_path, open_page: OpenPage, colors: str, size: tuple[int, int]) -> None:
    with site(tmp_path, page_disclaimer="Check it.") as served:
        options = {"color_scheme": colors, "viewport": {"width": size[0], "height": size[1]}}
        page = open_page(served, expected=["Failed to load resource"], **options)
        reader = Reader(page)
        assert faults(page) == []
        search = reader.ask("search hours")
        search.locator("details").first.locator("summary").first.click()
        assert faults(page) == []
        served.talk.said["long"] = (
            "# A\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 'y'  # z\n```\n\n- [x] done\n"
        )
        reader.ask("say long")
        assert faults(page) == []
        reader.ask("fail")
        assert faults(page) == []
        asked = reader.ask("mail ann, bob")
        assert faults(page) == []
        asked.get_by_role("button", name="Edit", exact=True).first.click()
        assert faults(page) == []


def test_dialogs_and_the_sign_in_have_no_faults(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path, bearer_token="a-token-that-is-long-enough-0123456789") as served:
        page = open_page(served, expected=["Failed to load resource"])
        page.get_by_role("dialog", name="Sign in").wait_for()
        assert faults(page) == []
    with site(tmp_path) as served:
        page = open_page(served)
        page.get_by_role("button", name="Keyboard shortcuts").click()
        page.get_by_role("dialog").wait_for()
        assert faults(page) == []


def test_the_keyboard_alone_is_enough(tmp_path, open_page: OpenPage) -> None:
    with site(tmp_path) as served:
        page = open_page(served)
        reader = Reader(page)

        def tab_to(name: str, *, back: bool = False) -> None:
            for _ in range(80):
                page.keyboard.press("Shift+Tab" if back else "Tab")
                if name in (
                    page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText") or ""
                ):
                    return
            raise AssertionError(f"no way by keyboard to {name!r}")

        expect(reader.field).to_be_focused()
        page.keyboard.type("mail ann")
        page.keyboard.press("Enter")
        expect(reader.last).to_contain_text("send_mail")
        reader.wait()
        tab_to("Approve", back=True)
        page.keyboard.press("Enter")
        expect(reader.last).to_contain_text("Done: sent to ann")
        reader.wait()
        tab_to("New chat", back=True)
        page.keyboard.press("Enter")
        expect(reader.turns).to_have_count(0)
        page.keyboard.type("edit me")
        page.keyboard.press("Enter")
        expect(reader.last).to_contain_text("You said: edit me")
        reader.wait()
        tab_to("Edit your message", back=True)
        page.keyboard.press("Enter")
        page.keyboard.type(" again")
        page.keyboard.press("Enter")
        expect(reader.last).to_contain_text("You said: edit me again")
        reader.wait()
        tab_to("More about", back=True)
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")  # rename
        page.keyboard.press("Control+A")
        page.keyboard.type("By keyboard")
        page.keyboard.press("Enter")
        expect(reader.list.get_by_role("link", name="By keyboard")).to_be_visible()


def test_a_phone_shows_everything_without_scrolling_sideways(shared: Site, open_page: OpenPage) -> None:
    page = open_page(shared, viewport={"width": 320, "height": 640}, has_touch=True)
    reader = Reader(page)
    wide = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverordnung" * 3
    shared.talk.said["wide"] = (
        f"{wide}\n\n| {' | '.join('abcdefgh')} |\n|{'---|' * 8}\n| {' | '.join(['wide cell'] * 8)} |"
    )
    answer = reader.ask("say wide")
    expect(answer.get_by_role("table")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    expect(reader.list).to_be_hidden()
    reader.press("Show the conversations")
    expect(reader.list).to_be_visible()


@pytest.mark.parametrize(
    ("text", "direction"), [("مرحبا بالعالم", "rtl"), ("שלום עולם", "rtl"), ("東京は晴れです。", "ltr")]
)
def test_each_text_is_written_in_its_own_direction(
    shared: Site, open_page: OpenPage, text: str, direction: str
) -> None:
    answer = Reader(open_page(shared)).ask(f"say {text}")
    shown = answer.get_by_role("paragraph").filter(has_text=text).last
    assert shown.evaluate("element => getComputedStyle(element).direction") == direction

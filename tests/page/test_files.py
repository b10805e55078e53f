"""Images and files, in a browser."""

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.page.conftest import OpenPage, Site, site
from tests.page.reader import Reader
from tests.page.test_access import faults

FOLDER = Path(__file__).parent

DROP = """async ({name, type, base64, at}) => {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name, {type}));
  const target = document.querySelector(at);
  const more = {bubbles: true, cancelable: true};
  if (at === "#message") {
    target.dispatchEvent(new ClipboardEvent("paste", {...more, clipboardData: carried}));
  } else {
    for (const kind of ["dragover", "drop"]) {
      target.dispatchEvent(new DragEvent(kind, {...more, dataTransfer: carried}));
    }
  }
}"""
"""A file that is pasted into the message field, or dropped elsewhere. A browser lets no test drag one from outside."""


def png(width: int = 64, height: int = 48) -> bytes:
    """An image of one color."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\x0b\x6b\x63" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service with a graph that takes both, one that takes images, and one that takes neither."""
    folder = tmp_path_factory.mktemp("looking")
    path = f"{FOLDER / 'looking.py'}:graph"
    manifest = {
        "dependencies": ["."],
        "graphs": {
            "both": {"path": path, "title": "Looker", "accepts": {"images": True, "files": True}},
            "images": {"path": path, "title": "Painter", "accepts": {"images": True}},
            "neither": {"path": path, "title": "Listener"},
        },
    }
    (folder / "langgraph.json").write_text(json.dumps(manifest), encoding="utf-8")
    settings = {"config": folder / "langgraph.json", "default_graph": "both", "max_body_bytes": 100_000}
    with site(folder, from_manifest=True, **settings) as served:
        yield served


def carry(page: Page, name: str, data: bytes, *, kind: str = "", at: str = "main") -> None:
    page.evaluate(DROP, {"name": name, "type": kind, "base64": base64.b64encode(data).decode(), "at": at})


def test_images_and_files_reach_the_graph_and_are_there_after_a_reload_an_edit_and_a_retry(
    looking: Site, open_page: OpenPage
) -> None:
    page = open_page(looking)
    reader = Reader(page)
    tray = page.get_by_role("list", name="Images and files to send").get_by_role("listitem")
    with page.expect_file_chooser() as chooser:
        reader.press("Add images or files")
    chooser.value.set_files(
        [
            {"name": "teal.png", "mimeType": "image/png", "buffer": png()},
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": "Grüße".encode()},
        ]
    )
    carry(page, "pasted.png", png(8, 8), kind="image/png", at="#message")
    carry(page, "dropped.md", b"# Drop")
    expect(tray).to_have_count(4)
    assert faults(page) == []
    assert tray.first.locator("img").evaluate("image => image.naturalWidth") == 64
    reader.press("Remove pasted.png")
    answer = reader.ask("What is it?")
    files = "an image, image/png; notes.txt, text/plain, Grüße; dropped.md, text/plain, # Drop"
    got = f"I got: the words What is it?; {files}"
    expect(answer).to_contain_text(got)
    page.reload()
    sent = reader.last.get_by_role("list", name="Images and files", exact=True)
    expect(sent.get_by_role("listitem")).to_have_count(3)
    assert sent.get_by_role("img", name="Image").evaluate("image => image.naturalWidth") == 64
    sent.get_by_role("button").click()
    assert faults(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    with page.expect_download() as download:
        sent.get_by_role("link", name="notes.txt").click()
    assert download.value.path().read_text(encoding="utf-8") == "Grüße"
    reader.press("Answer again", within=reader.last)
    expect(reader.last).to_contain_text("2/2")
    expect(reader.last).to_contain_text(got)
    reader.wait()
    reader.press("Edit your message", within=reader.last)
    reader.press("Remove dropped.md", within=reader.last)
    reader.last.get_by_label("Your message").fill("")
    page.keyboard.press("Enter")
    expect(reader.last).to_contain_text("I got: an image, image/png; notes.txt, text/plain, Grüße")
    expect(reader.last).to_contain_text("3/3")
    reader.wait()
    assert faults(page) == []


def test_what_the_graph_or_the_service_does_not_take_is_refused_before_it_is_sent(
    looking: Site, open_page: OpenPage
) -> None:
    page = open_page(looking, viewport={"width": 360, "height": 640}, has_touch=True)
    alert = page.get_by_role("alert")
    expect(page.get_by_role("button", name="Add images or files")).to_be_visible()
    carry(page, "large.bin", bytes(90_000))
    expect(alert).to_contain_text("“large.bin” was not added: it is too large (90 KB). A message takes 73 KB in all.")
    page.get_by_label("Assistant").select_option("images")
    carry(page, "notes.txt", b"Hi")
    expect(alert).to_contain_text("“notes.txt” was not added: Painter takes images only")
    carry(page, "teal.png", png())
    expect(page.get_by_role("button", name="Remove teal.png")).to_be_visible()
    page.get_by_label("Assistant").select_option("neither")
    expect(alert).to_contain_text("Listener takes no images and no files. Remove them, or choose another assistant.")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    expect(page.get_by_role("button", name="Add")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Remove teal.png").click()
    carry(page, "teal.png", png())
    expect(alert).to_contain_text("Listener takes no images and no files. Write what they say")

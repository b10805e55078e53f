"""PDF as sections, one for each page: its text, with words made whole again, and what was filled into its form."""

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pypdf

from graph_agent.local.documents.sections import Block, Section, UnreadableDocument
from graph_agent.local.documents.text_decoding import clean_text

LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}

LINE_END_HYPHEN = re.compile(r"(\w{2,60})([-\u2010\xad])[ \t]{0,8}\n[ \t]{0,8}(\w{2,60})")

WORD = re.compile(r"\w+(?:-\w+)*")

MOST_FIELDS = 2000
"""Of one page's form."""

MOST_PARENTS = 16


def pdf_sections(title: str, data: bytes) -> list[Section]:
    """One section for each page, anchored as `page=N`, which PDF viewers follow. Raises `UnreadableDocument`."""
    try:
        reader = pypdf.PdfReader(BytesIO(data))
        count = len(reader.pages)
    # pypdf raises whatever a malformed file leads it into, from KeyError to RecursionError.
    except Exception as error:
        raise UnreadableDocument("it is not a PDF that can be read, or it needs a password") from error
    title = own_title(reader) or title
    found = [(number, page_blocks(reader, number - 1)) for number in range(1, count + 1)]
    if count and all(blocks is None for _, blocks in found):
        raise UnreadableDocument("its pages are damaged, or too large to read")
    if not any(blocks for _, blocks in found):
        raise UnreadableDocument("its pages hold no text; it may be a scan")
    return [Section((title, f"page {number}"), f"page={number}", tuple(blocks)) for number, blocks in found if blocks]


def own_title(reader: pypdf.PdfReader) -> str:
    """The title it gives itself; none where that is broken, which says nothing about the pages."""
    try:
        title = reader.metadata.title if reader.metadata else None
        return " ".join(clean_text(str(title)).split()) if title else ""
    except Exception:
        return ""


def page_blocks(reader: pypdf.PdfReader, at: int) -> list[Block] | None:
    """The page's text and its form's values; none where the page is damaged, which says nothing about the others."""
    blocks: list[Block] | None = None
    try:
        text = whole_words(clean_text(reader.pages[at].extract_text()).translate(LIGATURES))
        blocks = [Block("prose", text)] if text.strip() else []
    except Exception:
        text = ""
    try:
        values = [line for line in form_lines(reader.pages[at]) if line not in text]
    except Exception:
        return blocks
    return [*(blocks or ()), Block("list", "\n".join(values))] if values else blocks


def whole_words(text: str) -> str:
    """Words that the end of a line cut in two, joined: with their hyphen where the text has it elsewhere as well."""
    known = set(WORD.findall(text.lower()))

    def joined(cut: re.Match[str]) -> str:
        before, hyphen, after = cut.groups()
        whole, compound = f"{before}{after}", f"{before}-{after}"
        keeps = hyphen == "-" and whole.lower() not in known
        if keeps and (compound.lower() in known or not (before[-1].isalpha() and after[0].islower())):
            return compound + "\n"
        return whole + "\n"

    return LINE_END_HYPHEN.sub(joined, text)


def form_lines(page: Any) -> Iterator[str]:
    """What is filled into the page's form, and written on it as a note: `name: value`."""
    for annotation in own(page, "/Annots", [])[:MOST_FIELDS]:
        field = annotation.get_object()
        kind, note = own(field, "/Subtype"), own(field, "/Contents")
        if kind == "/FreeText" and note:
            yield f"- {flat(note)}"
        value = inherited(field, "/V")
        if kind != "/Widget" or value in (None, "", "/Off"):
            continue
        values = value if isinstance(value, list) else [value]
        name = flat(inherited(field, "/TU") or inherited(field, "/T") or "")
        text = ", ".join(flat(item).lstrip("/") for item in values)
        if text:
            yield f"- {name}: {text}" if name else f"- {text}"


def own(entries: Any, key: str, default: Any = None) -> Any:
    """An entry, wherever in the file its value stands: `get` would give a reference."""
    return entries[key] if key in entries else default  # noqa: SIM401


def inherited(field: Any, key: str) -> Any:
    """A field's own entry, or that of the field it is a part of."""
    for _ in range(MOST_PARENTS):
        if key in field:
            return field[key]
        if "/Parent" not in field:
            return None
        field = field["/Parent"]
    return None


def flat(value: Any) -> str:
    return " ".join(clean_text(str(value)).split())

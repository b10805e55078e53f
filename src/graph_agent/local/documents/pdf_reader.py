"""PDF as sections, one for each page: its text, with hyphenated words joined, and the values in its form."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from typing import Any

import pypdf

from graph_agent.local.documents.sections import Block, DocumentSections, Section, UnreadableDocument
from graph_agent.local.documents.text_decoding import clean_text

LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}

# Every repetition has a limit, so that the search takes linear time in any text.
LINE_END_HYPHEN = re.compile(r"(\w{2,60})([-\u2010\xad])[ \t]{0,8}\n[ \t]{0,8}(\w{2,60})")

WORD = re.compile(r"\w+(?:-\w+)*")

MOST_FIELDS = 2000
"""Form fields read on one page."""

MOST_PARENTS = 16
"""Levels of field groups that are followed. A malformed file can make a field its own parent."""

MOST_RANGES = 10
"""Page ranges that a note lists."""


@dataclass(frozen=True, slots=True)
class PageContent:
    """What was read of a page, and whether some of it was damaged."""

    blocks: list[Block]
    is_damaged: bool


def pdf_sections(title: str, data: bytes) -> DocumentSections:
    """One section for each page with text. The note lists the pages that are damaged or have no text.

    Anchors are `page=N`, which PDF viewers follow. Raises `UnreadableDocument` if no page has text.
    """
    try:
        reader = pypdf.PdfReader(BytesIO(data))
        count = len(reader.pages)
    # pypdf raises all kinds of exceptions for a malformed file, from KeyError to RecursionError.
    except Exception as error:
        raise UnreadableDocument("it is not a PDF that can be read, or it needs a password") from error
    title = own_title(reader) or title
    pages = {number: page_content(reader, number - 1) for number in range(1, count + 1)}
    if not any(page.blocks for page in pages.values()):
        if pages and all(page.is_damaged for page in pages.values()):
            raise UnreadableDocument("its pages are damaged, or too large to read")
        raise UnreadableDocument("its pages contain no text; it may be a scan")
    sections = [
        Section((title, f"page {number}"), f"page={number}", tuple(page.blocks))
        for number, page in pages.items()
        if page.blocks
    ]
    return DocumentSections(sections, note_on(pages))


def note_on(pages: dict[int, PageContent]) -> str:
    """Which pages are not, or not completely, in the sections."""
    damaged = [number for number, page in pages.items() if page.is_damaged]
    empty = [number for number, page in pages.items() if not page.blocks and not page.is_damaged]
    notes = []
    if damaged:
        notes.append(f"damaged and not fully read: {page_list(damaged)}")
    if empty:
        # pypdf does not raise for every kind of damage. For some it finds no text.
        notes.append(f"without text (blank, scanned or damaged): {page_list(empty)}")
    return "; ".join(notes)


def page_list(numbers: Sequence[int]) -> str:
    """Ascending page numbers as text: `page 3`, or `pages 1-4, 7`."""
    # Consecutive numbers have the same distance to their places in the list.
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])]
    ranges = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    rest = f" and {len(ranges) - MOST_RANGES} more ranges" if len(ranges) > MOST_RANGES else ""
    return ("pages " if len(numbers) > 1 else "page ") + ", ".join(ranges[:MOST_RANGES]) + rest


def own_title(reader: pypdf.PdfReader) -> str:
    """The title in the file's metadata, or an empty string if there is none or it is malformed."""
    try:
        title = reader.metadata.title if reader.metadata else None
        return " ".join(clean_text(str(title)).split()) if title else ""
    except Exception:  # noqa: BLE001 - pypdf raises anything, and a broken title does not affect the pages
        return ""


def page_content(reader: pypdf.PdfReader, at: int) -> PageContent:
    """The text and the form values of a page. A damaged page does not affect the others."""
    text, values, is_damaged = "", [], False
    # Text and form are read separately, because either can be damaged alone.
    try:
        text = whole_words(clean_text(reader.pages[at].extract_text()).translate(LIGATURES))
    except Exception:  # noqa: BLE001 - pypdf raises anything, and the other pages may be good
        is_damaged = True
    try:
        # Many programs draw a field's value as part of the page's text too.
        values = [line for line in form_lines(reader.pages[at]) if line not in text]
    except Exception:  # noqa: BLE001 - pypdf raises anything, and the text may be good
        is_damaged = True
    blocks = [Block("prose", text)] if text.strip() else []
    return PageContent([*blocks, Block("list", "\n".join(values))] if values else blocks, is_damaged)


def whole_words(text: str) -> str:
    """Join words that a line end cuts in two. The hyphen stays if the text has the hyphenated word elsewhere."""
    known = set(WORD.findall(text.lower()))

    def joined(cut: re.Match[str]) -> str:
        before, hyphen, after = cut.groups()
        whole, compound = f"{before}{after}", f"{before}-{after}"
        # Soft and typographic hyphens at a line end always mark a cut word; the ASCII hyphen may belong to a compound.
        keeps = hyphen == "-" and whole.lower() not in known
        if keeps and (compound.lower() in known or not (before[-1].isalpha() and after[0].islower())):
            return compound + "\n"
        return whole + "\n"

    return LINE_END_HYPHEN.sub(joined, text)


def form_lines(page: Any) -> Iterator[str]:
    """The values in the page's form as `name: value`, and the text of notes on the page."""
    for annotation in own(page, "/Annots", [])[:MOST_FIELDS]:
        field = annotation.get_object()
        kind, note = own(field, "/Subtype"), own(field, "/Contents")
        if kind == "/FreeText" and note:
            yield f"- {flat(note)}"
        value = inherited(field, "/V")
        # `/Off` is an unchecked box.
        if kind != "/Widget" or value in (None, "", "/Off"):
            continue
        values = value if isinstance(value, list) else [value]
        # `/TU` is the label that viewers show, `/T` the internal name.
        name = flat(inherited(field, "/TU") or inherited(field, "/T") or "")
        text = ", ".join(flat(item).lstrip("/") for item in values)
        if text:
            yield f"- {name}: {text}" if name else f"- {text}"


def own(entries: Any, key: str, default: Any = None) -> Any:
    """The value of an entry. Unlike `get`, indexing resolves a reference to another place in the file."""
    return entries[key] if key in entries else default  # noqa: SIM401


def inherited(field: Any, key: str) -> Any:
    """The field's own entry, or the one of the nearest parent field that has it."""
    for _ in range(MOST_PARENTS):
        if key in field:
            return field[key]
        if "/Parent" not in field:
            return None
        field = field["/Parent"]
    return None


def flat(value: Any) -> str:
    return " ".join(clean_text(str(value)).split())

"""HTML as sections: every text of the page once, in reading order, in whatever element it is."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from lxml import html
from lxml.etree import ParserError

from graph_agent.local.documents.html_walk import UNSEEN, PageWalk, Piece
from graph_agent.local.documents.main_content import main_text_nodes
from graph_agent.local.documents.sections import BlockKind, EmptyDocument, Outline, Section, UnreadableDocument
from graph_agent.local.documents.text_decoding import decode_html

SMALL_PAGE_CHARACTERS = 1500
"""A page with less text is read as a whole: leaving out a part gains little and can lose the content."""

LEAST_PROSE_TAKEN = 0.35
"""If the extractor took a smaller share of the page's prose, it took the wrong part."""

GAP = 2
"""Up to this many blocks between two blocks of the main content belong to it too."""


BLANKS = str.maketrans("\v\f", "  ")
"""Vertical tab and form feed are legal in HTML but not in the tree that lxml builds."""


def html_sections(title: str, data: bytes) -> list[Section]:
    """The sections of a page's main content. Anchors are the ids of headings. Raises `UnreadableDocument`."""
    page = parsed(decode_html(data))
    outline = Outline(page_title(page) or title)
    for piece in main_pieces(page):
        if piece.level:
            outline.heading(piece.level, piece.text, piece.anchor)
        else:
            outline.block(piece.kind, piece.text)
    return outline.sections()


def fragment_blocks(source: str) -> list[tuple[BlockKind, str]]:
    """The blocks of an HTML fragment inside another document. Headings become prose."""
    page = parsed_or_none(source)
    if page is None:
        return []
    return [(piece.kind, piece.text) for piece in PageWalk().pieces(page)]


def main_pieces(page: Any) -> list[Piece]:
    """The page's main content, or all of the page if it is short or the extractor failed."""
    pieces = PageWalk(main_text_nodes(page)).pieces(page)
    body = [piece for piece in pieces if not piece.fringe]
    if sum(piece.characters for piece in body) >= SMALL_PAGE_CHARACTERS and is_trusted(body):
        return with_headings(pieces, fill_gaps([piece.is_main or piece.is_prose for piece in pieces], pieces))
    # A page that is nothing but navigation still gives its links. One that needs JavaScript gives its `noscript` text.
    return body or pieces or PageWalk(unseen=UNSEEN - {"noscript", "noframes"}).pieces(page)


def is_trusted(body: Sequence[Piece]) -> bool:
    """Whether the extractor took enough of the blocks that are clearly prose."""
    prose = sum(piece.characters for piece in body if piece.is_prose)
    taken = sum(piece.characters for piece in body if piece.is_prose and piece.is_main)
    return any(piece.is_main for piece in body) and taken >= LEAST_PROSE_TAKEN * prose


def fill_gaps(kept: list[bool], pieces: Sequence[Piece]) -> list[bool]:
    """Close short gaps, because the extractor leaves out short lines and lists in the middle of a text."""
    taken = [at for at, keep in enumerate(kept) if keep]
    for before, after in pairwise(taken):
        if after - before <= GAP + 1:
            for at in range(before + 1, after):
                kept[at] = not pieces[at].fringe and not pieces[at].is_linked
    return kept


def with_headings(pieces: Sequence[Piece], kept: Sequence[bool]) -> list[Piece]:
    """The blocks to keep, and each heading that is kept itself or comes directly before such a block."""
    chosen: list[Piece] = []
    pending: list[Piece] = []
    for piece, keep in zip(pieces, kept, strict=True):
        if keep:
            chosen += [*pending, piece]
            pending = []
        elif piece.level:
            pending = [heading for heading in pending if heading.level < piece.level] + [piece]
        else:
            pending = []
    return chosen


def parsed(source: str) -> Any:
    page = parsed_or_none(source)
    if page is None:
        raise EmptyDocument("it contains no text")
    return page


def parsed_or_none(source: str) -> Any | None:
    # `huge_tree` lifts libxml2's limits on depth and text size. The reader process limits time and memory instead.
    parser = html.HTMLParser(encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    page: Any = None
    # lxml raises ParserError for an empty document, also for one that contains only comments.
    with suppress(ParserError):
        page = html.document_fromstring(source.translate(BLANKS).encode(), parser)
    # libxml2 drops what is nested more deeply and only logs it. Indexing the rest would hide the loss.
    if any("Excessive depth" in entry.message for entry in parser.error_log):
        raise UnreadableDocument("its elements are nested too deeply")
    return page


def page_title(page: Any) -> str:
    found = page.find(".//head/title")
    if found is None:
        # Malformed pages have it outside of `head`.
        found = page.find(".//title")
    return collapse_whitespace("".join(found.itertext())) if found is not None else ""


def collapse_whitespace(text: str) -> str:
    return " ".join(text.split())

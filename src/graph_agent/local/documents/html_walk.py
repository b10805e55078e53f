"""Walks over a page's elements once: headings and blocks in reading order, each text once, in linear time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from graph_agent.local.documents.html_tables import grids, pipe_table
from graph_agent.local.documents.sections import BlockKind

UNSEEN_TAGS = """
    script style template head title noscript noframes iframe select datalist audio video annotation annotation-xml rt
    rp defs desc metadata
"""
UNSEEN = frozenset(UNSEEN_TAGS.split())
"""Elements without visible text, or with text that is there twice. The ruby text in `rt` and `rp` would split words."""

BLOCK_TAGS = """
    address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure
    footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol p pre search section summary table
    tbody td tfoot th thead tr ul
"""
BLOCKS = frozenset(BLOCK_TAGS.split())

INLINE_TAGS = """
    a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd mark math mi mn mo mrow nobr q ruby rb s samp
    small span strike strong sub sup time tt u var wbr
"""
INLINE = frozenset(INLINE_TAGS.split())
"""Elements that do not end a word. All others separate the words before and after them."""

HEADINGS = {f"h{level}": level for level in range(1, 7)}
LISTS = frozenset({"ul", "ol", "dl", "menu", "dir"})
ITEMS = frozenset({"li", "dt"})

MOST_INDENTS = 6
"""Deeper lists are not indented further, because their spaces would outgrow the text."""

PROSE_CHARACTERS = 160
"""A block of this length without links is prose, wherever it is on the page."""


@dataclass(slots=True)
class Piece:
    """A heading (`level` above 0) or a block, with its number of characters in total, in links, and in main content.

    `fringe` marks navigation and page footers.
    """

    kind: BlockKind
    text: str = ""
    level: int = 0
    anchor: str = ""
    characters: int = 0
    linked: int = 0
    main: int = 0
    fringe: bool = False

    @property
    def is_main(self) -> bool:
        """Whether the extractor took at least half of it."""
        return 2 * self.main >= max(self.characters, 1)

    @property
    def is_prose(self) -> bool:
        """Whether it is long enough to be prose and not a list of links."""
        return not self.fringe and self.characters - 3 * self.linked >= PROSE_CHARACTERS

    @property
    def is_linked(self) -> bool:
        """Whether at least a third of it is links."""
        return 3 * self.linked >= self.characters


@dataclass(slots=True)
class PageWalk:
    """Collects the pieces of a page.

    `main` has the numbers of the text nodes in the main content, counted from 1 in the order of the page.
    """

    main: Iterable[int] = ()
    unseen: frozenset[str] = UNSEEN
    _pieces: list[Piece] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _piece: Piece = field(default_factory=lambda: Piece("prose"))
    _list: Piece = field(default_factory=lambda: Piece("list"))
    _lines: list[str] = field(default_factory=list)
    _bullet: str = ""
    _rows: list[list[str]] | None = None
    _open: dict[str, int] = field(default_factory=dict)

    def pieces(self, page: Any) -> list[Piece]:
        """The headings and blocks of a page, or of one element."""
        main, tables = frozenset(self.main), grids(page)
        hidden = number = 0
        for event, tag in etree.iterwalk(page, events=("start", "end")):
            name = tag.tag if isinstance(tag.tag, str) else ""
            if event == "start":
                hidden += name in self.unseen
                if not hidden:
                    self._enter(name, tag, tables)
            else:
                if not hidden:
                    self._leave(name, tag, tables)
                hidden -= name in self.unseen
            # Also an unseen element's tail is text of the page: it comes after the element's end.
            text = tag.text if event == "start" else tag.tail
            # Must count as `main_content.mark` does, hidden text included.
            if text and not text.isspace():
                number += 1
            if text and not hidden:
                self._add(text, number in main)
        self._flush()
        self._end_list()
        return self._pieces

    def _add(self, text: str, is_main: bool) -> None:
        self._texts.append(text)
        count = len(text.strip())
        self._piece.characters += count
        self._piece.linked += count if self._inside("a") else 0
        self._piece.main += count if is_main else 0

    def _inside(self, *names: str) -> bool:
        return any(self._open.get(name) for name in names)

    def _enter(self, name: str, tag: Any, tables: set[Any]) -> None:
        self._part(name)
        if self._is_fringe(name):
            self._count("fringe", 1)
        if name in ITEMS:
            self._bullet = "- "
        elif name == "table" and tag in tables:
            self._end_list()
            self._rows = []
        elif name == "tr" and self._rows is not None:
            self._rows.append([])
        elif name == "br":
            self._texts.append("\n")
        self._count(name, 1)

    def _leave(self, name: str, tag: Any, tables: set[Any]) -> None:
        if name in HEADINGS:
            self._add_heading(HEADINGS[name], anchor_of(tag))
        elif name == "pre":
            self._add_code()
        elif name in ("td", "th") and self._rows:
            self._rows[-1].append(self._taken())
        elif name == "table" and tag in tables:
            self._add_table()
        else:
            self._part(name)
        self._count(name, -1)
        if self._is_fringe(name):
            self._count("fringe", -1)
        if name in LISTS and not self._inside(*LISTS):
            self._end_list()

    def _is_fringe(self, name: str) -> bool:
        # A page's footer is the same on every page. The footer of an article is part of the article.
        return name == "nav" or (name == "footer" and not self._inside("article", "main"))

    def _count(self, name: str, step: int) -> None:
        self._open[name] = self._open.get(name, 0) + step

    def _part(self, name: str) -> None:
        """Apply what the start or end of an element does to the text around it."""
        if name not in INLINE:
            # Whitespace counts in `pre`, so its edges add none.
            self._texts.append(" " if name != "pre" else "")
        if name in BLOCKS and not self._inside("pre") and (self._rows is None or name == "caption"):
            self._flush()

    def _taken(self) -> str:
        text = "".join(self._texts)
        self._texts.clear()
        return text if self._inside("pre") else " ".join(text.split())

    def _flush(self) -> None:
        text = self._taken()
        if not text.strip():
            return
        if self._inside(*LISTS) and not self._inside(*HEADINGS):
            depth = min(sum(self._open.get(name, 0) for name in LISTS) - 1, MOST_INDENTS)
            self._lines.append(f"{'  ' * depth}{self._bullet or '  '}{text}")
            self._bullet = ""
            self._move(self._piece, self._list)
        else:
            self._put("prose", text)

    def _put(self, kind: BlockKind, text: str, level: int = 0, anchor: str = "") -> None:
        self._end_list()
        piece, self._piece = self._piece, Piece("prose")
        piece.kind, piece.text, piece.level, piece.anchor = kind, text, level, anchor
        piece.fringe = self._inside("fringe")
        if text.strip():
            self._pieces.append(piece)

    def _end_list(self) -> None:
        if self._lines:
            listed, self._list = self._list, Piece("list")
            listed.text, listed.fringe = "\n".join(self._lines), self._inside("fringe")
            self._lines = []
            self._pieces.append(listed)

    def _move(self, source: Piece, target: Piece) -> None:
        target.characters += source.characters
        target.linked += source.linked
        target.main += source.main
        self._piece = Piece("prose")

    def _add_heading(self, level: int, anchor: str) -> None:
        if self._rows is None:
            self._put("prose", self._taken(), level, anchor)

    def _add_code(self) -> None:
        # An outer `pre` takes the text of an inner one, and a table cell takes its code as plain text.
        if self._open.get("pre", 0) > 1 or self._rows is not None:
            return
        text = self._taken().strip("\n")
        if text.strip():
            # Code that has a fence in it would end the block early.
            fence = "```" if "```" not in text else "~~~~"
            self._put("code", f"{fence}\n{text}\n{fence}")

    def _add_table(self) -> None:
        rows, self._rows = self._rows or [], None
        self._put("table", pipe_table(rows))


def anchor_of(heading: Any) -> str:
    """The id of the heading, the name or id of a link inside it, or the id of the section that it begins."""
    inner = next((link.get("name") or link.get("id") for link in heading.iter("a") if link.get("name")), None)
    around = heading.getparent()
    section = around.get("id") if around is not None and around.tag == "section" else None
    return str(heading.get("id") or inner or section or "")

"""A document as sections: a heading path, the anchor for a link to it, and the blocks under it.

Markdown, HTML, PDF and plain text all become the same sections, so chunking does not depend on the format.
"""

from dataclasses import dataclass, field
from typing import Literal

BlockKind = Literal["prose", "list", "table", "code"]


class UnreadableDocument(Exception):
    """The bytes are not a document of the format that the file name says. The message tells a user what is wrong."""


class EmptyDocument(UnreadableDocument):
    """The document could be read, but it contains no text."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list, table or code block; `text` is Markdown."""

    kind: BlockKind
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """The content under one heading. `path` leads from the document's title to the heading."""

    path: tuple[str, ...]
    anchor: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class DocumentSections:
    """The sections of a document in reading order, and a note that says which of its parts could not be read."""

    sections: list[Section]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Heading:
    level: int
    text: str
    anchor: str


@dataclass(slots=True)
class Outline:
    """Builds sections from headings and blocks, which are added in reading order."""

    title: str
    """The title of a document that has no level-1 heading."""

    always_titled: bool = False
    """Whether the author set the title. If so, it comes before a level-1 heading as well."""

    _sections: list[Section] = field(default_factory=list)
    _headings: list[_Heading] = field(default_factory=list)
    _blocks: list[Block] = field(default_factory=list)
    _bare: list[tuple[_Heading, ...]] = field(default_factory=list)

    def heading(self, level: int, text: str, anchor: str) -> None:
        self._end_section(next_level=level)
        while self._headings and self._headings[-1].level >= level:
            self._headings.pop()
        self._headings.append(_Heading(level, text, anchor))

    def block(self, kind: BlockKind, text: str) -> None:
        if text.strip():
            self._list_bare()
            self._blocks.append(Block(kind, text.strip("\n")))

    def sections(self) -> list[Section]:
        self._end_section(next_level=0)
        self._list_bare()
        return self._sections

    def _end_section(self, *, next_level: int) -> None:
        headings = tuple(self._headings)
        if self._blocks:
            self._sections.append(self._section(headings, headings, tuple(self._blocks)))
            self._blocks = []
        elif headings and next_level <= headings[-1].level:
            # The heading has nothing under it, so it is content itself: changelogs are often headings only. It is
            # collected first, because a run of such headings reads better as one list than as many tiny sections.
            if self._bare and self._bare[-1][:-1] != headings[:-1]:
                self._list_bare()
            self._bare.append(headings)

    def _list_bare(self) -> None:
        """Turn headings with nothing under them into a list under their common parent heading."""
        bare, self._bare = [headings for headings in self._bare if headings[-1].text], []
        if bare:
            lines = "\n".join(f"- {headings[-1].text}" for headings in bare)
            self._sections.append(self._section(bare[0][:-1], bare[0], (Block("list", lines),)))

    def _section(self, above: tuple[_Heading, ...], linked: tuple[_Heading, ...], blocks: tuple[Block, ...]) -> Section:
        return Section(self._path(above), linked[-1].anchor if linked else "", blocks)

    def _path(self, headings: tuple[_Heading, ...]) -> tuple[str, ...]:
        named = tuple(heading.text for heading in headings if heading.text)
        titled = bool(named) and headings[0].level == 1
        # A level-1 heading usually repeats the title. Adding both would only lengthen the path.
        if titled and (not self.always_titled or self.title.casefold() in named[0].casefold()):
            return named
        return (self.title, *named)

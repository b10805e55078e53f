"""A document's bytes as sections: a heading path, the anchor a link to it needs, and the blocks under it.

Markdown, HTML, PDF and plain text all become the same sections, so chunking knows nothing of formats.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePath
from typing import Literal

import pypdf
from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

BlockKind = Literal["prose", "list", "table", "code"]

DROPPED_TAGS = ("script", "style", "noscript", "template", "nav", "header", "footer", "aside", "form", "svg", "iframe")
BLOCK_TAGS = ("p", "div", "section", "article", "ul", "ol", "dl", "pre", "table", "blockquote", "details", "figure")
HEADING_TAGS = ("h1", "h2", "h3", "h4", "h5", "h6")


class UnreadableDocument(Exception):
    """The bytes are not the document their name promises; the message says what is wrong, for a person."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list, table or code block; `text` is Markdown."""

    kind: BlockKind
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one heading. `path` goes from the document's title to the heading."""

    path: tuple[str, ...]
    anchor: str
    blocks: tuple[Block, ...]


@dataclass(slots=True)
class Outline:
    """Sections in the making: headings and blocks go in, in reading order."""

    title: str
    _sections: list[Section] = field(default_factory=list)
    _headings: list[tuple[int, str]] = field(default_factory=list)
    _anchor: str = ""
    _blocks: list[Block] = field(default_factory=list)

    def heading(self, level: int, text: str, anchor: str) -> None:
        self._close()
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._headings.append((level, text))
        self._anchor = anchor

    def block(self, kind: BlockKind, text: str) -> None:
        if text.strip():
            self._blocks.append(Block(kind, text.strip("\n")))

    def sections(self) -> list[Section]:
        self._close()
        return self._sections

    def _close(self) -> None:
        if self._blocks:
            self._sections.append(Section(self._path(), self._anchor, tuple(self._blocks)))
        self._blocks = []

    def _path(self) -> tuple[str, ...]:
        named = tuple(text for _, text in self._headings if text)
        return named if named and self._headings[0][0] == 1 else (self.title, *named)


def read_sections(name: str, data: bytes) -> list[Section]:
    """The sections of a document called `name`, read by its suffix.

    Raises `UnreadableDocument` where the bytes cannot be understood.
    """
    path = PurePath(name)
    return reader_of(path.suffix)(path.stem, data)


def reader_of(suffix: str) -> Callable[[str, bytes], list[Section]]:
    match suffix.lower():
        case ".md" | ".markdown":
            return markdown_sections
        case ".html" | ".htm":
            return html_sections
        case ".pdf":
            return pdf_sections
        case _:
            return text_sections


def markdown_sections(title: str, data: bytes) -> list[Section]:
    """CommonMark with tables; anchors are the ones code hosts give to headings."""
    source = without_front_matter(decode(data))
    lines = source.splitlines()
    outline, anchors = Outline(title), Anchors()
    for node in SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(source)).children:
        if node.type == "heading":
            text = plain_text(node)
            outline.heading(int(node.tag[1]), text, anchors.of(text))
        elif node.map is not None and node.type not in ("hr", "html_block"):
            outline.block(MARKDOWN_KINDS.get(node.type, "prose"), "\n".join(lines[slice(*node.map)]))
    return outline.sections()


MARKDOWN_KINDS: dict[str, BlockKind] = {
    "table": "table",
    "fence": "code",
    "code_block": "code",
    "bullet_list": "list",
    "ordered_list": "list",
}


class Anchors:
    """Heading anchors: lower case, punctuation dropped, blanks as hyphens, repeats numbered."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def of(self, heading: str) -> str:
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        count = self._seen.get(slug, 0)
        self._seen[slug] = count + 1
        return f"{slug}-{count}" if count else slug


def plain_text(node: SyntaxTreeNode) -> str:
    if node.type in ("text", "code_inline"):
        return node.content
    if node.type in ("softbreak", "hardbreak"):
        return " "
    return "".join(plain_text(child) for child in node.children)


def without_front_matter(source: str) -> str:
    return re.sub(r"\A---\n.*?\n---\n", "", source.replace("\r\n", "\n"), count=1, flags=re.DOTALL)


def text_sections(title: str, data: bytes) -> list[Section]:
    """One section of paragraphs, which blank lines separate."""
    outline = Outline(title)
    for paragraph in re.split(r"\n\s*\n", decode(data).replace("\r\n", "\n")):
        outline.block("prose", paragraph)
    return outline.sections()


def decode(data: bytes) -> str:
    """Text in UTF-8, in UTF-16 with its mark, or as a last resort in Windows-1252."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in data[:8192]:
        raise UnreadableDocument("it holds binary data, not text")
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnreadableDocument("its text encoding is unknown; save it as UTF-8")


def pdf_sections(title: str, data: bytes) -> list[Section]:
    """One section per page, anchored as `page=N`, which PDF viewers follow."""
    try:
        title, pages = pdf_pages(title, data)
    # pypdf raises whatever a malformed file leads it into, from KeyError to RecursionError.
    except Exception as error:
        raise UnreadableDocument("it is not a PDF that can be read, or it needs a password") from error
    if not any(page.strip() for page in pages):
        raise UnreadableDocument("its pages hold no text; it may be a scan")
    return [
        Section((title, f"page {number}"), f"page={number}", (Block("prose", page),))
        for number, page in enumerate(pages, start=1)
        if page.strip()
    ]


def pdf_pages(title: str, data: bytes) -> tuple[str, list[str]]:
    reader = pypdf.PdfReader(BytesIO(data))
    named = reader.metadata.title if reader.metadata else None
    return (named or "").strip() or title, [page.extract_text() for page in reader.pages]


def html_sections(title: str, data: bytes) -> list[Section]:
    """The readable part of a page; anchors are the headings' own ids."""
    try:
        page = BeautifulSoup(data, "html.parser")
        for tag in page.find_all(DROPPED_TAGS):
            tag.decompose()
        outline = Outline(tag_text(page.title) if page.title else title)
        for event in readable(page.find("main") or page.find("article") or page.body or page):
            event(outline)
    except RecursionError as error:
        raise UnreadableDocument("its elements are nested too deeply") from error
    return outline.sections()


def readable(node: Tag) -> Iterator[Callable[[Outline], None]]:
    """The headings and blocks below a tag, in reading order."""
    for child in node.children:
        if isinstance(child, Tag) and child.name not in ("title", "head"):
            yield from readable_tag(child)
        elif type(child) is NavigableString and child.strip():
            yield add_block("prose", " ".join(child.split()))


def readable_tag(tag: Tag) -> Iterator[Callable[[Outline], None]]:
    match tag.name:
        case "pre":
            yield add_block("code", f"```\n{tag.get_text().strip(chr(10))}\n```")
        case "table":
            yield add_block("table", pipe_table(tag))
        case "ul" | "ol":
            yield add_block("list", "\n".join(f"- {tag_text(item)}" for item in tag.find_all("li", recursive=False)))
        case name if name in HEADING_TAGS:
            yield add_heading(int(name[1]), tag_text(tag), anchor_of(tag))
        case _ if tag.find(BLOCK_TAGS + HEADING_TAGS):
            yield from readable(tag)
        case _:
            yield add_block("prose", tag_text(tag))


def add_heading(level: int, text: str, anchor: str) -> Callable[[Outline], None]:
    return lambda outline: outline.heading(level, text, anchor)


def add_block(kind: BlockKind, text: str) -> Callable[[Outline], None]:
    return lambda outline: outline.block(kind, text)


def anchor_of(heading: Tag) -> str:
    """The heading's id, or the id of the section it opens."""
    own = heading.get("id")
    around = heading.parent.get("id") if heading.parent and heading.parent.name == "section" else None
    return str(own or around or "")


def pipe_table(table: Tag) -> str:
    rows = [[tag_text(cell) for cell in row.find_all(("th", "td"))] for row in table.find_all("tr")]
    lines = [f"| {' | '.join(row)} |" for row in rows if row]
    return "\n".join([*lines[:1], "|---" * len(rows[0]) + "|", *lines[1:]]) if lines else ""


def tag_text(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())

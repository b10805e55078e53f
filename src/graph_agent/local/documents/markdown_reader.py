"""Markdown as sections: CommonMark with tables. Anchors are those that code hosts such as GitHub give to headings."""

import re
from collections.abc import Mapping

from markdown_it import MarkdownIt
from markdown_it.token import Token

from graph_agent.local.documents.front_matter import split_front_matter
from graph_agent.local.documents.html_reader import fragment_blocks
from graph_agent.local.documents.sections import BlockKind, Outline, Section, UnreadableDocument
from graph_agent.local.documents.text_decoding import decode_text

KINDS: Mapping[str, BlockKind] = {
    "table_open": "table",
    "fence": "code",
    "code_block": "code",
    "bullet_list_open": "list",
    "ordered_list_open": "list",
}

PUNCTUATION = re.compile(r"[^\w\- ]")

HEADING_CHARACTERS = 1000
"""A longer heading is not parsed for emphasis and links, which can take long. Its source is used as it is."""


def markdown_sections(title: str, data: bytes) -> list[Section]:
    """The sections of a Markdown document. Raises `UnreadableDocument`."""
    # Only the line ends of CommonMark. `splitlines` would also split at form feeds and Unicode separators, and the line
    # numbers of the parser would no longer fit.
    source = decode_text(data).replace("\r\n", "\n").replace("\r", "\n")
    named, body = split_front_matter(source)
    outline, anchors = Outline(named or title, always_titled=bool(named)), Anchors()
    lines = body.split("\n")
    tokens = block_parser().parse(body)
    for at, token in enumerate(tokens):
        # Only opening tokens of the top level: a block's source has all that is nested in it.
        if token.level or token.nesting < 0 or token.map is None:
            continue
        source_of_block = "\n".join(lines[slice(*token.map)])
        if token.type == "heading_open":
            text = heading_text(tokens[at + 1].content)
            outline.heading(int(token.tag[1]), text, anchors.of(text))
        elif token.type == "html_block":
            for kind, text in html_blocks(source_of_block):
                outline.block(kind, text)
        elif token.type != "hr":
            outline.block(KINDS.get(token.type, "prose"), closed(token, source_of_block))
    return outline.sections()


def html_blocks(source: str) -> list[tuple[BlockKind, str]]:
    try:
        return fragment_blocks(source)
    # Too deeply nested for the HTML parser. The Markdown around it is still good, so its source is kept as text.
    except UnreadableDocument:
        return [("prose", source)]


def block_parser() -> MarkdownIt:
    """A parser for blocks only. Inline markup is kept as source, and parsing it can take a long time."""
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


def closed(token: Token, source: str) -> str:
    """Add the closing fence to a code block that ends with the document. Each piece cut from the block repeats it."""
    if token.type != "fence":
        return source
    _, _, rest = source.partition("\n")
    last = rest.rpartition("\n")[2].strip(" \t>")
    ends = len(last) >= len(token.markup) and not last.strip(token.markup[0])
    return source if ends else f"{source.rstrip()}\n{token.markup}"


def heading_text(source: str) -> str:
    """The text of a heading without markup."""
    if len(source) > HEADING_CHARACTERS:
        return " ".join(source.split())
    [inline] = MarkdownIt("commonmark").parseInline(source)
    return " ".join("".join(map(plain_text, inline.children or ())).split())


def plain_text(token: Token) -> str:
    if token.type in ("text", "code_inline", "image"):
        return token.content
    return " " if token.type in ("softbreak", "hardbreak") else ""


class Anchors:
    """Makes heading anchors: lower case, no punctuation, hyphens for spaces, and numbers for repeated ones."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def of(self, heading: str) -> str:
        slug = PUNCTUATION.sub("", heading.lower()).strip().replace(" ", "-")
        count = self._seen.get(slug, 0)
        self._seen[slug] = count + 1
        return f"{slug}-{count}" if count else slug

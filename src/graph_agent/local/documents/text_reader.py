"""Plain text as one section of paragraphs, separated by blank lines."""

import re

from graph_agent.local.documents.sections import Outline, Section
from graph_agent.local.documents.text_decoding import decode_text

PARAGRAPH_END = re.compile(r"\n\s*\n|\f")


def text_sections(title: str, data: bytes) -> list[Section]:
    """One section with the paragraphs of a text. Raises `UnreadableDocument`."""
    outline = Outline(title)
    for paragraph in PARAGRAPH_END.split(decode_text(data).replace("\r\n", "\n").replace("\r", "\n")):
        outline.block("prose", paragraph)
    return outline.sections()

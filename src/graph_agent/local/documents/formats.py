"""Which reader a document's name asks for."""

from collections.abc import Callable
from pathlib import PurePath

from graph_agent.local.documents.sections import Section

SUFFIXES = frozenset({".md", ".markdown", ".txt", ".text", ".rst", ".html", ".htm", ".xhtml", ".pdf"})


def read_sections(name: str, data: bytes) -> list[Section]:
    """The sections of a document called `name`, read by its suffix.

    Raises `UnreadableDocument` where the bytes cannot be understood.
    """
    path = PurePath(name)
    return reader_of(path.suffix)(path.stem, data)


def reader_of(suffix: str) -> Callable[[str, bytes], list[Section]]:
    # Here, because reading Markdown need not wait for the libraries of PDF and HTML.
    match suffix.lower():
        case ".md" | ".markdown":
            from graph_agent.local.documents.markdown_reader import markdown_sections

            return markdown_sections
        case ".html" | ".htm" | ".xhtml":
            from graph_agent.local.documents.html_reader import html_sections

            return html_sections
        case ".pdf":
            from graph_agent.local.documents.pdf_reader import pdf_sections

            return pdf_sections
        case _:
            from graph_agent.local.documents.text_reader import text_sections

            return text_sections


def is_foreign_format(name: str) -> bool:
    """Whether a library of many lines reads it, which a file can lead anywhere: those are read in another process."""
    return PurePath(name).suffix.lower() in (".html", ".htm", ".xhtml", ".pdf")

"""Chooses the reader for a document by its file name."""

from pathlib import PurePath

from graph_agent.local.documents.sections import DocumentSections

SUFFIXES = frozenset({".md", ".markdown", ".txt", ".text", ".rst", ".html", ".htm", ".xhtml", ".pdf"})


def read_sections(name: str, data: bytes) -> DocumentSections:
    """Read a document with the reader for the suffix of `name`. Unknown suffixes are read as plain text.

    Raises `UnreadableDocument` if the bytes cannot be read in that format.
    """
    title, suffix = PurePath(name).stem, PurePath(name).suffix.lower()
    # The imports are late because reading Markdown should not wait for the PDF and HTML libraries.
    match suffix:
        case ".md" | ".markdown":
            from graph_agent.local.documents.markdown_reader import markdown_sections

            return DocumentSections(markdown_sections(title, data))
        case ".html" | ".htm" | ".xhtml":
            from graph_agent.local.documents.html_reader import html_sections

            return DocumentSections(html_sections(title, data))
        case ".pdf":
            from graph_agent.local.documents.pdf_reader import pdf_sections

            return pdf_sections(title, data)
        case _:
            from graph_agent.local.documents.text_reader import text_sections

            return DocumentSections(text_sections(title, data))


def is_foreign_format(name: str) -> bool:
    """Whether a large third-party library reads this format.

    A malicious file can make such a library hang, crash or use up memory, so these formats are read in another process.
    """
    return PurePath(name).suffix.lower() in (".html", ".htm", ".xhtml", ".pdf")

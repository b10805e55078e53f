"""Creates documents for tests, and cuts them into chunks."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pypdf
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject, StreamObject

from graph_agent.local.documents.chunks import Chunk, DocumentChunks, SourceFile, read_chunks

PDF_FONT = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}


def document(name: str, data: str | bytes) -> DocumentChunks:
    encoded = data.encode() if isinstance(data, str) else data
    return read_chunks(SourceFile(Path("/anywhere/docs") / name, f"docs/{name}"), encoded)


def chunks(name: str, data: str | bytes) -> list[Chunk]:
    return document(name, data).chunks


def chunk_texts(name: str, data: str | bytes) -> list[str]:
    return [chunk.text for chunk in chunks(name, data)]


def text_of(name: str, data: str | bytes) -> str:
    """Return the text of all chunks of a document."""
    return "\n\n".join(chunk_texts(name, data))


def page_with(writer: pypdf.PdfWriter, lines: Sequence[bytes]) -> pypdf.PageObject:
    """Add a page with these lines. Each is the content of a PDF string."""
    page = writer.add_blank_page(width=300, height=300)
    font = DictionaryObject({NameObject(key): NameObject(value) for key, value in PDF_FONT.items()})
    page[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F1"): writer._add_object(font)})}
    )
    content = DecodedStreamObject()
    content.set_data(b"BT /F1 12 Tf 14 TL 20 200 Td " + b" T* ".join(b"(%b) Tj" % line for line in lines) + b" ET")
    page[NameObject("/Contents")] = writer._add_object(content)
    return page


def damage(writer: pypdf.PdfWriter, page: pypdf.PageObject) -> None:
    """Give a page contents that cannot be decoded."""
    content = StreamObject()
    content._data = b"lost"
    content[NameObject("/Filter")] = NameObject("/Unknown")
    page[NameObject("/Contents")] = writer._add_object(content)


def pdf(*pages: str, title: str = "Handbook") -> bytes:
    """Return a PDF with one line on each page."""
    writer = pypdf.PdfWriter()
    for text in pages:
        page_with(writer, text.encode("cp1252").split(b"\n"))
    writer.add_metadata({"/Title": title})
    return written(writer)


def written(writer: pypdf.PdfWriter) -> bytes:
    target = BytesIO()
    writer.write(target)
    return target.getvalue()

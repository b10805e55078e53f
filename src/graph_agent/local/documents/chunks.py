"""Documents as chunks for the index: passages that stand alone, each with a name of its own."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from graph_agent.local.documents.files import MAX_FILE_BYTES, SourceFile, Unreadable, find_documents, read_document
from graph_agent.local.documents.formats import read_sections
from graph_agent.local.documents.passages import heading_line, passages
from graph_agent.local.documents.sections import EmptyDocument, UnreadableDocument

__all__ = [
    "CHUNKING_VERSION",
    "MAX_FILE_BYTES",
    "Chunk",
    "SourceFile",
    "Unreadable",
    "chunks_of",
    "find_documents",
    "read_document",
    "read_folder",
]

CHUNKING_VERSION = "2"
"""Goes up with every change of chunking, so that indexes are made anew."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document; the first line of `text` is its heading path, so that it stands alone."""

    chunk_id: str
    doc_uri: str
    title: str
    text: str
    position: int


def chunks_of(source: SourceFile, data: bytes) -> list[Chunk]:
    """The document as chunks in reading order, at least one. Raises `UnreadableDocument`."""
    try:
        chunks = _chunks(source, data)
    except UnreadableDocument:
        raise
    except MemoryError as error:
        raise UnreadableDocument("it takes too much memory to read") from error
    # A reader is led anywhere by a file that is made so, and the others are to be read all the same.
    except Exception as error:
        raise UnreadableDocument(f"it could not be read ({type(error).__name__})") from error
    if not chunks:
        raise EmptyDocument("it holds no text")
    return chunks


def _chunks(source: SourceFile, data: bytes) -> list[Chunk]:
    chunks: list[Chunk] = []
    for section in read_sections(source.path.name, data):
        title = heading_line(section.path)
        uri = f"{source.uri}#{section.anchor}" if section.anchor else source.uri
        for passage in passages(section):
            position = len(chunks)
            chunks.append(Chunk(chunk_id(source.uri, position), uri, title, f"{title}\n\n{passage}", position))
    return chunks


def chunk_id(uri: str, position: int) -> str:
    return hashlib.sha256(f"{uri}\n{position}".encode()).hexdigest()[:16]


def read_folder(roots: Sequence[str | os.PathLike[str]]) -> tuple[list[Chunk], list[Unreadable]]:
    """Every chunk under the roots, and what could not be read."""
    sources, problems = find_documents(roots)
    chunks: list[Chunk] = []
    for source in sources:
        try:
            chunks += chunks_of(source, read_document(source))
        except UnreadableDocument as error:
            problems.append(Unreadable(str(source.path), str(error)))
    return chunks, problems

"""Documents as chunks for the index: passages that can be understood alone, each with a stable id."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from graph_agent.local.documents.files import MAX_FILE_BYTES, SourceFile, Unreadable, find_documents, read_document
from graph_agent.local.documents.formats import read_sections
from graph_agent.local.documents.passages import heading_line, passages
from graph_agent.local.documents.sections import DocumentSections, EmptyDocument, UnreadableDocument
from graph_agent.local.packages import INSTALL

__all__ = [
    "CHUNKING_VERSION",
    "MAX_FILE_BYTES",
    "Chunk",
    "DocumentChunks",
    "SourceFile",
    "Unreadable",
    "find_documents",
    "read_chunks",
    "read_document",
    "read_folder",
]

CHUNKING_VERSION = "2"
"""Increase it with every change of chunking, so that documents are indexed again."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document. The first line of `text` is its heading path, so that it can be understood alone."""

    chunk_id: str
    doc_uri: str
    title: str
    text: str
    position: int


@dataclass(frozen=True, slots=True)
class DocumentChunks:
    """The chunks of a document in reading order, and a note that says which of its parts could not be read, if any."""

    chunks: list[Chunk]
    note: str = ""


def read_chunks(source: SourceFile, data: bytes) -> DocumentChunks:
    """Read a document and cut it into at least one chunk. Raises `UnreadableDocument`."""
    try:
        found = read_sections(source.path.name, data)
        chunks = _chunks(source, found)
    except UnreadableDocument:
        raise
    except MemoryError as error:
        raise UnreadableDocument("it takes too much memory to read") from error
    except ImportError as error:
        raise UnreadableDocument(f"the package {error.name} is missing or broken: {INSTALL}") from error
    # The libraries raise any exception for a malformed file, and one file must not stop the indexing of the others.
    except Exception as error:
        raise UnreadableDocument(f"it could not be read ({type(error).__name__})") from error
    if not chunks:
        raise EmptyDocument("it contains no text")
    return DocumentChunks(chunks, found.note)


def _chunks(source: SourceFile, found: DocumentSections) -> list[Chunk]:
    chunks: list[Chunk] = []
    for section in found.sections:
        title = heading_line(section.path)
        uri = f"{source.uri}#{section.anchor}" if section.anchor else source.uri
        for passage in passages(section):
            position = len(chunks)
            chunks.append(Chunk(chunk_id(source.uri, position), uri, title, f"{title}\n\n{passage}", position))
    return chunks


def chunk_id(uri: str, position: int) -> str:
    # From the place and not from the text, so that ids stay unique in a document that repeats a passage.
    return hashlib.sha256(f"{uri}\n{position}".encode()).hexdigest()[:16]


def read_folder(roots: Sequence[str | os.PathLike[str]]) -> tuple[list[Chunk], list[Unreadable]]:
    """Every chunk under the roots, and the files that could not be read."""
    sources, problems = find_documents(roots)
    chunks: list[Chunk] = []
    for source in sources:
        try:
            chunks += read_chunks(source, read_document(source)).chunks
        except UnreadableDocument as error:
            problems.append(Unreadable(str(source.path), str(error)))
    return chunks, problems

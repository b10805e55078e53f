"""A document that uses up or crashes its reader costs itself alone."""

import os
import signal
import zlib
from pathlib import Path
from typing import IO

import pypdf
import pytest
from pypdf.generic import NameObject, StreamObject
from tests.local.reading import damage, page_with, pdf, written

from graph_agent.local.documents import reader_process
from graph_agent.local.documents.chunks import read_chunks
from graph_agent.local.documents.files import SourceFile
from graph_agent.local.documents.reader_process import DocumentReader
from graph_agent.local.documents.sections import EmptyDocument, UnreadableDocument


def source(name: str) -> SourceFile:
    return SourceFile(Path("/anywhere/docs") / name, f"docs/{name}")


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.pdf", pdf("one", "two")), ("a.html", b"<h1>A</h1><p>one</p>"), ("a.md", b"# A\n\none"), ("a.txt", b"one")],
)
def test_another_process_reads_what_this_one_would(name: str, data: bytes) -> None:
    with DocumentReader() as reader:
        assert reader.read(source(name), data) == read_chunks(source(name), data)


def test_what_is_wrong_with_a_document_is_told_from_there() -> None:
    with DocumentReader() as reader:
        with pytest.raises(UnreadableDocument, match="it is not a PDF"):
            reader.read(source("a.pdf"), b"nonsense")
        with pytest.raises(EmptyDocument, match="it contains no text"):
            reader.read(source("a.html"), b"<p></p>")


def slow_page() -> bytes:
    """Minutes of work for the walk over a page."""
    return b"<table>" + b"<tr><td>a<td>b" * 600_000


def test_a_document_that_takes_too_long_is_given_up_and_the_next_one_is_read() -> None:
    with DocumentReader(cpu_seconds=2) as reader:
        with pytest.raises(UnreadableDocument, match="it takes more than 2 s of CPU time to read"):
            reader.read(source("slow.html"), slow_page())
        assert reader.read(source("a.md"), b"one")
        assert reader.read(source("a.html"), b"<p>one</p>")


def test_a_document_that_crashes_its_reader_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with DocumentReader() as reader:
        assert reader.read(source("a.html"), b"<p>one</p>")
        assert reader._process is not None
        pid, send = reader._process.pid, reader_process.send_value

        def send_and_crash(stream: IO[bytes], value: object) -> None:
            send(stream, value)
            os.kill(pid, signal.SIGSEGV)
            os.kill(pid, signal.SIGCONT)

        os.kill(pid, signal.SIGSTOP)
        with monkeypatch.context() as patched:
            patched.setattr(reader_process, "send_value", send_and_crash)
            with pytest.raises(UnreadableDocument, match="it crashed the process that read it"):
                reader.read(source("b.html"), b"<p>two</p>")
        assert reader.read(source("c.html"), b"<p>three</p>")


def test_a_document_that_unpacks_to_more_than_fits_is_given_up() -> None:
    with DocumentReader() as reader:
        with pytest.raises(UnreadableDocument, match="its pages are damaged, or too large to read"):
            reader.read(source("bomb.pdf"), bomb())
        assert reader.read(source("a.pdf"), pdf("one"))


def bomb() -> bytes:
    """A page whose content is a hundred megabytes when it is unpacked."""
    writer = pypdf.PdfWriter()
    page = page_with(writer, [b"x"])
    content = StreamObject()
    content._data = zlib.compress(b"BT (x) Tj ET\n" * 8_000_000, 9)
    content[NameObject("/Filter")] = NameObject("/FlateDecode")
    page[NameObject("/Contents")] = writer._add_object(content)
    return written(writer)


def test_what_is_noted_on_a_document_comes_from_there() -> None:
    writer = pypdf.PdfWriter()
    for line in (b"lion", b"tiger"):
        page_with(writer, [line])
    damage(writer, writer.pages[0])
    with DocumentReader() as reader:
        assert reader.read(source("a.pdf"), written(writer)).note == "damaged and not fully read: page 1"


def test_the_process_ends_with_its_reader() -> None:
    with DocumentReader() as reader:
        reader.read(source("a.html"), b"<p>one</p>")
        process = reader._process
    assert process is not None
    assert process.returncode is not None

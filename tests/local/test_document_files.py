"""What is found under files and folders, and that nothing there ends the look."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.reading import pdf

from graph_agent.local.documents.chunks import read_folder
from graph_agent.local.documents.files import MAX_FILE_BYTES, Skipped, Unreadable, find_documents, read_document, survey
from graph_agent.local.documents.sections import UnreadableDocument

NOBODY = 65_534


def test_a_folder_is_read_without_hidden_folders_environments_and_foreign_files(tmp_path: Path) -> None:
    kept = ["docs/a.md", "docs/deep/b.txt"]
    skipped = [".git/c.md", "docs/node_modules/d.md", "docs/.e.md", "docs/image.png", "docs/mine/f.md", ".venv/g.md"]
    for name in (*kept, *skipped):
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    (tmp_path / "project/docs/mine/pyvenv.cfg").touch()
    sources, problems = find_documents([tmp_path / "project", tmp_path / "project" / "docs"])
    assert [source.uri for source in sources] == [f"project/{name}" for name in kept]
    assert problems == []


def test_what_is_left_out_by_rule_is_counted(tmp_path: Path) -> None:
    for name in (".notes/a.md", ".b.md", "c.docx", "d.DOCX", "e.png", "f.md", ".gitignore", "inner/.g/h.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "linked").symlink_to(tmp_path / "inner")
    found = survey([tmp_path])
    assert [source.path.name for source in found.sources] == ["f.md"]
    counts = Skipped(hidden_folders=2, hidden_files=1, linked_folders=1)
    counts.suffixes.update({".docx": 2, ".png": 1})
    assert found.skipped == counts


def test_hidden_folders_and_files_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    for name in (".notes/a.md", ".b.md", "c.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    found = survey([tmp_path], hidden=True)
    assert sorted(source.path.name for source in found.sources) == [".b.md", "a.md", "c.md"]
    assert not found.skipped


def test_a_single_file_is_called_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("hello")
    assert [source.uri for source in find_documents([tmp_path / "README.md"])[0]] == ["README.md"]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("binary.md", b"\x00\x01\x02", "it contains binary data, not text"),
        ("large.txt", b"x" * (MAX_FILE_BYTES + 1), "it is larger than 10 MB"),
        ("broken.pdf", b"%PDF-1.4 nonsense", "it is not a PDF that can be read, or it needs a password"),
        ("scan.pdf", pdf(""), "its pages contain no text; it may be a scan"),
        ("deep.html", b"<div>" * 5000 + b"<p>x</p>", "its elements are nested too deeply"),
        ("deep-inline.html", b"<b>" * 50_000 + b"x", "its elements are nested too deeply"),
        ("odd.txt", b"\x81\x8d", "its text encoding is unknown; save it as UTF-8"),
        ("noise.txt", bytes(range(256)) * 20, "it contains binary data, not text"),
        ("empty.md", b"", "it contains no text"),
        ("blank.txt", b" \n\t\n", "it contains no text"),
        ("rule.md", b"---\n\n***\n", "it contains no text"),
        ("nothing.html", b"<html><body><script>alert(1)</script></body></html>", "it contains no text"),
        ("comment.html", b"<!-- nothing but this -->", "it contains no text"),
        ("unclosed.html", b"<!-- " + b"x" * 100, "it contains no text"),
    ],
)
def test_a_file_that_gives_nothing_is_reported_and_the_others_are_still_read(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.md").write_text("good")
    found, problems = read_folder([tmp_path])
    assert [chunk.text for chunk in found] == ["good\n\ngood"]
    assert problems == [Unreadable(str(tmp_path / name), reason)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("marked.html", b"<p>zebra<![namespace::is_some_class]></p>"),
        ("cdata.html", b"<p>zebra</p><![CDATA[ x ]]><![if !IE]><![endif]><!DOCTYPE [<!ENTITY a 'b'>]>"),
        ("reference.html", b"<p>zebra &#" + b"9" * 6000 + b"; &#x110000; &#0; &#xD800;"),
        ("attribute.html", b"<ol start='" + b"9" * 6000 + b"'><li>zebra</ol><td colspan='" + b"9" * 6000 + b"'>x"),
        ("surrogate.html", b"<p>zebra &#xDC80;</p>"),
        ("control.html", b"<p>zebra\x0b\x0c\x01 and more words of a text</p>"),
        ("nul.html", b"<p>zebra\x00 and more words of a text, and more</p>"),
        ("nul.md", b"zebra\x00 and more words of a text, and more"),
        ("number.md", b"9" * 5000 + b". zebra\n\n&#" + b"9" * 5000 + b";"),
        ("quotes.md", b">" * 5000 + b" zebra"),
        ("brackets.md", b"zebra " + b"[" * 50_000),
        ("yaml.md", b"---\na: " + b"[" * 5000 + b"\n---\nzebra"),
        ("number-yaml.md", b"---\na: " + b"9" * 5000 + b"\n---\nzebra"),
        ("date-yaml.md", b"---\ndate: 2024-99-99\n---\nzebra"),
        ("aliases.md", b"---\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\nzebra"),
    ],
)
def test_a_file_that_leads_a_parser_astray_is_read_all_the_same(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    found, problems = read_folder([tmp_path])
    assert "zebra" in " ".join(chunk.text for chunk in found)
    assert problems == []


def test_a_path_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    assert find_documents([tmp_path / "nowhere"]) == (
        [],
        [Unreadable(str(tmp_path / "nowhere"), "no such file or directory")],
    )


def test_links_that_lead_nowhere_and_in_circles_are_reported(tmp_path: Path) -> None:
    (tmp_path / "lost.md").symlink_to(tmp_path / "nowhere.md")
    (tmp_path / "round.md").symlink_to(tmp_path / "round.md")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "up").symlink_to(tmp_path)
    assert read_folder([tmp_path]) == (
        [],
        [Unreadable(str(tmp_path / name), "it is not a regular file") for name in ("lost.md", "round.md")],
    )
    [problem] = find_documents([tmp_path / "round.md"])[1]
    assert problem.path == str(tmp_path / "round.md")


def test_pipes_sockets_and_devices_are_reported_without_waiting_for_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "null.txt").symlink_to("/dev/zero")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    # A socket's address has to be short.
    os.chdir(tmp_path)
    try:
        listener.bind("socket.md")
    finally:
        os.chdir(here)
    found, problems = read_folder([tmp_path])
    listener.close()
    assert found == []
    assert {problem.reason for problem in problems} == {"it is not a regular file"}
    assert len(problems) == 3


def test_a_folder_deeper_than_pythons_stack_is_looked_through(tmp_path: Path) -> None:
    depth, here = 1500, os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("deep.md").write_text("deep")
        sources, problems = find_documents([tmp_path])
    finally:
        # Here, since pytest's own cleaning would go as deep as the stack.
        Path("deep.md").unlink(missing_ok=True)
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("d")
        os.chdir(here)
    assert [source.path.name for source in sources] == ["deep.md"]
    assert problems == []


def test_a_name_that_is_no_text_is_reported(tmp_path: Path) -> None:
    for name in (b"caf\xe9.md", b"line\nend.md"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_text("text")
    sources, problems = find_documents([tmp_path])
    assert sources == []
    assert [problem.path for problem in problems] == [f"{tmp_path}/caf\ufffd.md", f"{tmp_path}/line?end.md"]
    assert {problem.reason for problem in problems} == {
        "its name contains bytes or characters that cannot be displayed; rename it"
    }


def test_a_file_that_vanishes_between_finding_and_reading_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("text")
    [source], _ = find_documents([tmp_path])
    source.path.unlink()
    with pytest.raises(UnreadableDocument, match="no such file or directory"):
        read_document(source)


@pytest.fixture
def not_root() -> Iterator[Path]:
    """A folder, and a user who may not read everything: root gives its rights up meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


def test_what_may_not_be_opened_is_reported(not_root: Path) -> None:
    (not_root / "closed").mkdir(mode=0)
    (not_root / "closed.md").touch(mode=0)
    (not_root / "good.md").write_text("good")
    found, problems = read_folder([not_root])
    (not_root / "closed").chmod(0o700)
    assert [chunk.text for chunk in found] == ["good\n\ngood"]
    assert {(problem.path, problem.reason) for problem in problems} == {
        (str(not_root / name), "permission denied") for name in ("closed", "closed.md")
    }


def test_names_are_composed_as_texts_are(tmp_path: Path) -> None:
    (tmp_path / "Cafe\u0301.md").write_text("text")
    assert [source.uri for source in find_documents([tmp_path])[0]] == [f"{tmp_path.name}/Caf\xe9.md"]

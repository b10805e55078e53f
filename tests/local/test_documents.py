import re
import sys

import pytest
from tests.local.reading import chunk_texts, chunks, pdf

from graph_agent.local.documents.passages import PASSAGE_CHARACTERS, WHOLE_CHARACTERS
from graph_agent.local.documents.sections import UnreadableDocument


def test_a_markdown_file_is_cut_at_its_headings_and_each_chunk_names_the_way_to_it() -> None:
    source = (
        "Intro.\n\n# Guide\n\nWelcome.\n\n## Settings\n\n### Time `outs`\n\nThirty seconds.\n\n## Colours\n\nBlue.\n"
    )
    assert [(chunk.doc_uri, chunk.title, chunk.text, chunk.position) for chunk in chunks("guide.md", source)] == [
        ("docs/guide.md", "guide", "guide\n\nIntro.", 0),
        ("docs/guide.md#guide", "Guide", "Guide\n\nWelcome.", 1),
        (
            "docs/guide.md#time-outs",
            "Guide > Settings > Time outs",
            "Guide > Settings > Time outs\n\nThirty seconds.",
            2,
        ),
        ("docs/guide.md#colours", "Guide > Colours", "Guide > Colours\n\nBlue.", 3),
    ]


def test_a_document_without_a_first_level_heading_is_called_by_its_file_name() -> None:
    assert [chunk.title for chunk in chunks("README.md", "## Settings\n\nNone.\n")] == ["README > Settings"]


def test_headings_of_the_same_text_get_numbered_anchors() -> None:
    source = "# A\n\n## Notes\n\none\n\n## Notes\n\ntwo\n\n## What's new? (2.0)\n\nthree\n"
    assert [chunk.doc_uri for chunk in chunks("a.md", source)] == [
        "docs/a.md#notes",
        "docs/a.md#notes-1",
        "docs/a.md#whats-new-20",
    ]


def test_a_heading_inside_a_code_block_opens_no_section() -> None:
    source = "# Install\n\n```sh\n# not a heading\nmake setup\n```\n"
    assert chunk_texts("a.md", source) == ["Install\n\n```sh\n# not a heading\nmake setup\n```"]


def test_a_long_section_is_cut_between_paragraphs_into_short_passages() -> None:
    paragraphs = [f"Paragraph {number}: " + "words " * 40 for number in range(12)]
    texts = chunk_texts("a.md", "# Long\n\n" + "\n\n".join(paragraphs))
    assert len(texts) == 4
    assert all(text.startswith("Long\n\nParagraph ") for text in texts)
    assert max(len(text) for text in texts) <= PASSAGE_CHARACTERS + len("Long\n\n")


def test_a_paragraph_longer_than_a_passage_is_cut_between_sentences() -> None:
    sentences = [f"Sentence {number} says something of a certain length." for number in range(40)]
    texts = chunk_texts("a.md", "# Long\n\n" + " ".join(sentences))
    bodies = [text.removeprefix("Long\n\n") for text in texts]
    assert all(body.startswith("Sentence") and body.endswith(".") for body in bodies)
    assert " ".join(bodies).replace("\n\n", " ") == " ".join(sentences)


def test_a_table_is_kept_whole_up_to_its_limit_and_beyond_it_every_piece_has_the_header() -> None:
    header = "| Name | Meaning |\n|---|---|\n"
    rows = [f"| SETTING_{number} | what setting number {number} means |" for number in range(60)]
    small, large = header + "\n".join(rows[:20]), header + "\n".join(rows)
    assert PASSAGE_CHARACTERS < len(small) < WHOLE_CHARACTERS
    assert chunk_texts("a.md", f"# T\n\n{small}\n") == [f"T\n\n{small}"]
    pieces = [text.removeprefix("T\n\n") for text in chunk_texts("a.md", f"# T\n\n{large}\n")]
    assert all(piece.startswith(header) for piece in pieces)
    assert [line for piece in pieces for line in piece.removeprefix(header).splitlines()] == rows


def test_a_long_code_block_is_cut_between_lines_and_every_piece_is_fenced() -> None:
    lines = [f"value_{number} = compute({number})  # a line of code" for number in range(60)]
    pieces = chunk_texts("a.md", "# C\n\n```python\n" + "\n".join(lines) + "\n```\n")
    bodies = [piece.removeprefix("C\n\n") for piece in pieces]
    assert all(body.startswith("```python\n") and body.endswith("\n```") for body in bodies)
    assert [line for body in bodies for line in body.splitlines()[1:-1]] == lines


def test_a_sentence_that_announces_a_table_stays_with_it() -> None:
    filler = "\n\n".join("Filler. " * 12 for _ in range(7))
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {number} | x |" for number in range(40))
    texts = chunk_texts("a.md", f"# T\n\n{filler}\n\nThese are the routes:\n\n{table}\n")
    assert texts[-1] == f"T\n\nThese are the routes:\n\n{table}"


def test_an_html_page_gives_its_readable_part_with_the_anchors_of_its_headings() -> None:
    page = """<html><head><title>Manual</title><style>p{}</style></head><body><nav>Home | About</nav>
    <main><p>Intro <b>bold</b>.</p><h2 id="setup">Set up</h2><div><p>Run it.</p><pre>make dev</pre></div>
    <section id="names"><h2>Names</h2><ul><li>one</li><li>two</li></ul>
    <table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table></section>
    <script>alert(1)</script></main><footer>Imprint</footer></body></html>"""
    assert [(chunk.doc_uri, chunk.text) for chunk in chunks("m.html", page)] == [
        ("docs/m.html", "Manual\n\nIntro bold."),
        ("docs/m.html#setup", "Manual > Set up\n\nRun it.\n\n```\nmake dev\n```"),
        ("docs/m.html#names", "Manual > Names\n\n- one\n- two\n\n| A | B |\n|---|---|\n| 1 | 2 |"),
    ]


def test_a_chunk_keeps_its_id_when_another_chunk_changes() -> None:
    before, after = chunks("a.md", "# A\n\none\n\n## B\n\ntwo\n"), chunks("a.md", "# A\n\nuno\n\n## B\n\ntwo\n")
    assert before[1] == after[1]
    assert len({chunk.chunk_id for chunk in before}) == 2


def test_a_table_under_a_header_longer_than_a_passage_does_not_repeat_it() -> None:
    header = f"| {'H' * 500} | {'K' * 500} |\n|---|---|\n"
    texts = chunk_texts("a.md", "# T\n\n" + header + "| a | b |\n" * 500)
    assert sum(map(len, texts)) < 2 * (len(header) + 10 * 500)


def test_a_line_of_megabytes_is_cut_in_linear_time_and_loses_nothing() -> None:
    texts = chunk_texts("a.txt", "x" * 4_000_000)
    assert sum(text.count("x") for text in texts) == 4_000_000


def test_a_document_whose_reader_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python takes a module that is None here for one that is not installed.
    monkeypatch.setitem(sys.modules, "pypdf", None)
    monkeypatch.delitem(sys.modules, "graph_agent.local.documents.pdf_reader", raising=False)
    install = "the package pypdf is missing or broken: pip install 'FOLDER[local]'"
    with pytest.raises(UnreadableDocument, match=re.escape(install)):
        chunks("a.pdf", pdf("one"))

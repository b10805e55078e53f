"""Markdown: nothing of it is lost, and nothing of it is read twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.local.reading import chunk_texts, chunks, text_of


@pytest.mark.parametrize("separator", ["\f", "\v", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_lines_end_where_commonmark_ends_them(separator: str) -> None:
    source = (
        f"# A\n\nfirst{separator}\n\nalpha{separator}alpha\n\n## B\n\nbeta\n\n| x | y |\n|---|---|\n| 1 | gamma |\n"
    )
    [first, second] = chunk_texts("a.md", source)
    assert first.startswith("A\n\nfirst")
    assert first.count("alpha") == 2
    assert second == "A > B\n\nbeta\n\n| x | y |\n|---|---|\n| 1 | gamma |"


def test_old_and_foreign_line_ends_are_line_ends() -> None:
    for end in ("\r\n", "\r"):
        assert chunk_texts("a.md", f"# A{end}{end}one{end}{end}## B{end}{end}two{end}") == ["A\n\none", "A > B\n\ntwo"]


@pytest.mark.parametrize(
    "source",
    [
        "---\n\n# Heading\n\nzebra\n\n---\n\nmore\n",
        "---\nzebra is a word\n---\nmore\n",
        "---\nNote: zebra ahead\n---\n",
        "---\nA sentence: with a zebra\nand more\n---\n",
        "---\n- zebra\n---\n",
        "---\nzebra: [\n---\n",
        "---\nzebra\n",
        "---\n",
        "+++\nzebra\n+++\n",
        "***\nzebra\n***\n",
    ],
)
def test_a_rule_at_the_top_is_no_front_matter(source: str) -> None:
    if "zebra" in source:
        assert text_of("a.md", source).count("zebra") == 1


@pytest.mark.parametrize(
    "front",
    [
        "---\ntitle: Zebra handbook\ndate: 2024-01-01\n---\n",
        '---\nlayout: page\ntitle: "Zebra handbook"\n...\n',
        "---\r\nTitle: Zebra handbook\r\nDraft: yes\r\ntags: [a, b]\r\n---\r\n".replace("Draft", "draft"),
        '+++\ntitle = "Zebra handbook"\ndate = 2024-01-01\n+++\n',
    ],
)
def test_the_title_of_the_front_matter_is_the_documents(front: str) -> None:
    [chunk] = chunks("a.md", f"{front}Text.\n")
    assert (chunk.title, chunk.text) == ("Zebra handbook", "Zebra handbook\n\nText.")


def test_the_title_of_the_front_matter_stands_before_a_heading_of_its_own() -> None:
    assert chunk_texts("a.md", "---\ntitle: Zebra handbook\n---\n# Intro\n\nText.\n") == [
        "Zebra handbook > Intro\n\nText."
    ]
    assert chunk_texts("a.md", "---\ntitle: Zebra\n---\n# Zebra handbook\n\nText.\n") == ["Zebra handbook\n\nText."]


def test_other_fields_of_the_front_matter_are_not_content() -> None:
    assert chunk_texts("a.md", "---\nlayout: page\nauthor: nobody\n---\n# Shown\n\nText.\n") == ["Shown\n\nText."]


def test_html_in_markdown_is_read() -> None:
    source = (
        "# Ports\n\n<table>\n<tr><td>8765</td><td>zebra</td></tr>\n</table>\n\n<details>\n<summary>Why?</summary>\n"
        "Because of the giraffe.\n</details>\n\n<div align=center>\n\n**bold lion**\n\n</div>\n\n<!-- hidden -->\n"
    )
    text = text_of("a.md", source)
    assert all(text.count(word) == 1 for word in ("8765", "zebra", "Why?", "giraffe", "lion"))
    assert "hidden" not in text


def test_html_that_is_nested_too_deeply_is_kept_as_it_stands() -> None:
    assert "zebra" in text_of("a.md", "<div>" * 5000 + "zebra\n\nmore\n")


def test_headings_with_nothing_under_them_are_text() -> None:
    source = "# Changes\n\n## Fixed the alarm\n\n## Added valve E4711\n\n### Details\n\n## Last\n"
    found = chunks("a.md", source)
    assert [(chunk.doc_uri, chunk.text) for chunk in found] == [
        ("docs/a.md#fixed-the-alarm", "Changes\n\n- Fixed the alarm"),
        ("docs/a.md#details", "Changes > Added valve E4711\n\n- Details"),
        ("docs/a.md#last", "Changes\n\n- Last"),
    ]


def test_a_document_of_one_heading_is_found_by_it() -> None:
    assert chunk_texts("a.md", "# Zebra\n") == ["a\n\n- Zebra"]


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12))
def test_every_heading_is_somewhere_in_the_text(outline: list[tuple[int, bool]]) -> None:
    parts = [
        f"{'#' * level} heading{at}x\n\n" + ("text\n\n" if full else "") for at, (level, full) in enumerate(outline)
    ]
    text = text_of("a.md", "".join(parts))
    assert all(f"heading{at}x" in text for at in range(len(outline)))


@pytest.mark.parametrize("fence", ["```", "~~~", "````python"])
def test_a_fence_that_is_never_closed_repeats_nothing(fence: str) -> None:
    lines = [f"line{number} of the code that goes on" for number in range(200)]
    text = text_of("a.md", f"# A\n\n{fence}\n" + "\n".join(lines))
    assert all(text.count(f"line{number} ") == 1 for number in range(200))


def test_a_heading_loses_its_marks_and_no_words() -> None:
    [chunk] = chunks("a.md", "# **Bold** `code` [link](http://x) ![picture](y) &amp; *end*\n\nx\n")
    assert chunk.title == "Bold code link picture & end"

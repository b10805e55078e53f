"""Citations: markers checked while they stream, annotations checked against what was retrieved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_agent.contract import Source
from graph_agent.nodes.citations import MarkerFilter, cite, support


def source(number: int, text: str = "The default port is 8000.") -> Source:
    return Source(number=number, doc_uri=f"docs/{number}.md", chunk_id=f"c{number}", title=f"Page {number}", text=text)


def streamed(chunks: list[str], numbers: list[int]) -> list[str]:
    markers = MarkerFilter(numbers)
    return [markers.feed(chunk) for chunk in chunks] + [markers.finish()]


def test_a_marker_of_a_retrieved_passage_streams_through_as_soon_as_it_is_whole() -> None:
    assert streamed(["The port is 8000 [", "1", "]. Yes"], [1]) == ["The port is 8000", "", " [1]. Yes", ""]


def test_a_marker_of_a_passage_that_was_not_retrieved_never_reaches_the_stream() -> None:
    assert "".join(streamed(["It is 8000 ", "[7]", ", they say [1, 9]."], [1])) == "It is 8000, they say [1]."


def test_brackets_that_are_no_markers_are_not_held_back() -> None:
    assert streamed(["a [list] of [1", "st] things"], [1]) == ["a [list] of", " [1st] things", ""]


@given(st.lists(st.sampled_from(["[", "]", "1", "2", "9", ",", " ", "a", "[1]", "[9]", " [1, 2]"]), max_size=30))
def test_how_the_text_is_cut_into_chunks_changes_nothing(chunks: list[str]) -> None:
    whole = "".join(streamed(["".join(chunks)], [1, 2]))
    assert "".join(streamed(chunks, [1, 2])) == whole
    assert "[9]" not in whole


def test_every_marker_becomes_an_annotation_at_its_place() -> None:
    text = "Port 8000 [2], host local [1]."
    assert cite(text, [source(1), source(2)]) == [
        {"type": "citation", "url": "docs/2.md", "title": "Page 2", "start_index": 10, "end_index": 13},
        {"type": "citation", "url": "docs/1.md", "title": "Page 1", "start_index": 26, "end_index": 29},
    ]


def test_an_answer_without_markers_is_credited_to_the_passage_that_holds_its_words() -> None:
    text = "The default port is 8000."
    other = source(1, "Traces are stored in a file of the cache folder.")
    assert cite(text, [other, source(2)]) == [
        {"type": "citation", "url": "docs/2.md", "title": "Page 2", "start_index": len(text), "end_index": len(text)}
    ]


def test_an_answer_that_no_passage_holds_is_credited_to_none() -> None:
    assert cite("Paris is the capital of France.", [source(1)]) == []


@pytest.mark.parametrize(("text", "share"), [("default port", 1.0), ("default harbour", 0.5), ("", 0.0)])
def test_support_is_the_share_of_words_a_passage_holds(text: str, share: float) -> None:
    assert support(text, source(1)) == share

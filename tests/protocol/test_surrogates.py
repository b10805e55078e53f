"""Characters that come in halves."""

from hypothesis import given
from hypothesis import strategies as st

from graph_agent.protocol.surrogates import SurrogateJoiner, join_surrogates

TEXT = st.text(alphabet=st.characters(codec=None, categories=("L", "Cs", "So", "P")), max_size=12)


def halved(text: str) -> str:
    """The text as one whose characters beyond the 16th bit are pairs of halves."""
    return "".join(
        chr(0xD800 + ((ord(one) - 0x10000) >> 10)) + chr(0xDC00 + (ord(one) - 0x10000) % 0x400)
        if ord(one) > 0xFFFF
        else one
        for one in text
    )


@given(st.lists(TEXT, max_size=6))
def test_what_is_told_piece_by_piece_is_the_mended_whole(pieces: list[str]) -> None:
    halves = SurrogateJoiner()
    told = "".join(map(halves.feed, pieces)) + halves.flush()
    assert told == join_surrogates("".join(pieces))
    told.encode()


@given(st.text(max_size=8), st.data())
def test_a_text_cut_anywhere_between_halves_comes_out_as_it_was(text: str, data: st.DataObject) -> None:
    pairs = halved(text)
    place = data.draw(st.integers(0, len(pairs)))
    halves = SurrogateJoiner()
    assert halves.feed(pairs[:place]) + halves.feed(pairs[place:]) + halves.flush() == text


def test_plain_text_is_the_same_object() -> None:
    text = "plain"
    assert SurrogateJoiner().feed(text) is text

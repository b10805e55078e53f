"""Events and response objects are packed in the store, and come back as they were."""

import hashlib

import pytest

from graph_agent.stores.packing import VERSION, WORDS, pack, pack_lines, unpack, unpack_lines

TURN = [
    b'{"type":"response.output_text.delta","item_id":"msg_%032x","output_index":2,"content_index":0,"delta":" word%d",'
    b'"logprobs":[],"sequence_number":%d}' % (7, number, number)
    for number in range(200)
]


@pytest.mark.parametrize("text", [b"", b"\0\xff\n\n", b"\n", WORDS, bytes(range(256)) * 300])
def test_a_text_comes_back_as_it_was(text: bytes) -> None:
    assert unpack(pack(text)) == text
    assert unpack_lines(pack(text)) == text.split(b"\n")


def test_the_events_of_a_turn_take_a_twentieth_of_their_length() -> None:
    packed = pack_lines(TURN)
    assert unpack_lines(packed) == TURN
    assert len(packed) < len(b"\n".join(TURN)) / 20


def test_a_single_event_takes_half_of_its_length() -> None:
    assert len(pack_lines(TURN[:1])) < len(TURN[0]) / 2


def test_what_was_packed_can_be_read_later() -> None:
    # Stores hold texts that were packed with these words. Others would make them unreadable.
    assert hashlib.sha256(WORDS).hexdigest() == "57d5a7ab0297a8c28b02dc18b1a2295e8e9b6f4871d5a4dc276787b33d3bf1f0"
    assert VERSION == b"\x01"


@pytest.mark.parametrize("packed", [b"", b"\x02", b"\x01", b"\x01damaged", pack(b"text")[:-1]])
def test_what_cannot_be_read_is_said(packed: bytes) -> None:
    with pytest.raises(ValueError, match="the store holds"):
        unpack(packed)

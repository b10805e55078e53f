"""Sealing: what is sealed opens with its key and in its context, unchanged, and not otherwise."""

import base64
import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_agent.sealing import MOST_BYTES, CannotOpen, Sealer, TooLarge, is_sealed

ONE, OTHER = b"1" * 32, b"2" * 32
SEALER = Sealer([ONE])
SEALED = SEALER.seal(b"They agreed on Tuesday.", b"ann")


def test_what_is_sealed_opens_and_cannot_be_read() -> None:
    assert SEALER.open(SEALED, b"ann") == b"They agreed on Tuesday."
    assert b"agreed" not in base64.b64decode(SEALED)
    assert SEALER.seal(b"They agreed on Tuesday.", b"ann") != SEALED


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc"])
def test_another_text_for_the_same_bytes_does_not_open(data: bytes) -> None:
    sealed = SEALER.seal(data, b"ann")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = len(sealed.rstrip("=")) - 1
    for other in letters.replace(sealed[last], ""):
        with pytest.raises(CannotOpen):
            SEALER.open(f"{sealed[:last]}{other}{sealed[last + 1 :]}", b"ann")


@pytest.mark.parametrize("context", [b"bob", b"", b"ann\0"])
def test_another_context_does_not_open_it(context: bytes) -> None:
    with pytest.raises(CannotOpen):
        SEALER.open(SEALED, context)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    both = Sealer([OTHER, ONE])
    assert both.open(SEALED, b"ann") == b"They agreed on Tuesday."
    assert Sealer([OTHER]).open(both.seal(b"new", b"ann"), b"ann") == b"new"
    with pytest.raises(CannotOpen):
        Sealer([OTHER]).open(SEALED, b"ann")


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, len(base64.b64decode(SEALED)) - 1), change=st.integers(1, 255))
def test_a_changed_byte_anywhere_is_noticed(place: int, change: int) -> None:
    raw = bytearray(base64.b64decode(SEALED))
    raw[place] ^= change
    with pytest.raises(CannotOpen):
        SEALER.open(base64.b64encode(raw).decode(), b"ann")


@settings(max_examples=100, deadline=None)
@given(text=st.one_of(st.text(), st.binary(max_size=80).map(lambda raw: base64.b64encode(raw).decode())))
def test_any_other_text_does_not_open(text: str) -> None:
    with pytest.raises(CannotOpen):
        SEALER.open(text, b"ann")


@pytest.mark.parametrize("text", [None, 1, "", "gAAAA-b_c", "A" * 10_485_764, json.dumps({})])
def test_what_cannot_be_sealed_text_is_known_at_once(text: object) -> None:
    assert not is_sealed(text)


def test_too_much_is_neither_sealed_nor_opened() -> None:
    with pytest.raises(TooLarge):
        SEALER.seal(bytes(MOST_BYTES + 1), b"ann")
    # What a key's holder sealed elsewhere, so small that it is accepted, and endless when it is opened.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head = base64.b64decode(SEALED)[:5]
    key = next(iter(SEALER._keys.values()))
    packed = zlib.compress(bytes(MOST_BYTES + 1))
    sealed = head + bytes(12) + AESGCM(key).encrypt(bytes(12), packed, head + b"ann")
    with pytest.raises(CannotOpen):
        SEALER.open(base64.b64encode(sealed).decode(), b"ann")

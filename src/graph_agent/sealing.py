"""Seals data that a client keeps for the service: nobody else can read it or change it unnoticed.

The cipher is AES-256-GCM of the `cryptography` package, as NIST SP 800-38D has it, with a random nonce. What is sealed
is bound to a context, such as its owner: it can be opened only with the same context. A sealed text is the base64 form
of a byte for the version, four bytes that name the key, the nonce, and the encrypted data with its tag.
"""

import base64
import binascii
import hashlib
import re
import secrets
import zlib
from collections.abc import Sequence

SALT = b"graph-agent sealing"
"""Separates the keys made here from other uses of the same secret."""

VERSION = 1
NAME_BYTES, NONCE_BYTES, TAG_BYTES, KEY_BYTES = 4, 12, 16, 32

MOST_CHARACTERS = 10_485_760
"""The most characters of a sealed text, as the Open Responses specification has it."""

MOST_BYTES = 33_554_432
"""The most bytes that a sealed text opens to. A small text may hold much data, because it is compressed."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


class CannotOpen(Exception):
    """The text was sealed with another key or for another context, or it was changed."""


class TooLarge(Exception):
    """The data is too much for one sealed text."""


def is_sealed(text: object) -> bool:
    """Whether the text may be a sealed one: nothing else looks like it."""
    return isinstance(text, str) and len(text) <= MOST_CHARACTERS and _BASE64.fullmatch(text) is not None


class Sealer:
    """Seals with the first of its secrets, and opens with all of them, so that a secret can be replaced."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """There is at least one secret. Each has at least 128 bits that nobody can guess."""
        self._keys = {_named(key): key for key in map(_key_of, secrets)}
        self._first = next(iter(self._keys))

    def seal(self, data: bytes, context: bytes) -> str:
        """The sealed text of this data.

        Raises:
            TooLarge: the data is too much for one sealed text.
        """
        # Late: the library takes a while to import, and few processes need it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        packed = zlib.compress(data)
        size = 1 + NAME_BYTES + NONCE_BYTES + len(packed) + TAG_BYTES
        if len(data) > MOST_BYTES or 4 * (size + 2) // 3 > MOST_CHARACTERS:
            raise TooLarge
        head, nonce = bytes([VERSION]) + self._first, secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self._keys[self._first]).encrypt(nonce, packed, head + context)
        return base64.b64encode(head + nonce + sealed).decode()

    def open(self, text: str, context: bytes) -> bytes:
        """The data of a sealed text.

        Raises:
            CannotOpen: it was sealed with another key or for another context, or it was changed.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if not is_sealed(text):
            raise CannotOpen
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise CannotOpen from None
        # The last letter has bits that mean nothing, so that two texts can stand for the same bytes.
        if base64.b64encode(raw) != text.encode():
            raise CannotOpen
        head, rest = raw[: 1 + NAME_BYTES], raw[1 + NAME_BYTES :]
        key = self._keys.get(head[1:])
        if head[:1] != bytes([VERSION]) or key is None or len(rest) < NONCE_BYTES + TAG_BYTES:
            raise CannotOpen
        try:
            packed = AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], head + context)
        except InvalidTag:
            raise CannotOpen from None
        return _unpacked(packed)


def _unpacked(packed: bytes) -> bytes:
    reader = zlib.decompressobj()
    data = reader.decompress(packed, MOST_BYTES)
    if not reader.eof:
        raise CannotOpen
    return data


def _key_of(secret: bytes) -> bytes:
    return hashlib.scrypt(secret, salt=SALT, n=2**12, r=8, p=1, dklen=KEY_BYTES)


def _named(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=NAME_BYTES, person=b"key name").digest()

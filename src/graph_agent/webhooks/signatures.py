"""Signs messages as the Standard Webhooks specification says.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

PREFIX = "whsec_"
"""Before the base64 text of a secret."""

SHORTEST, LONGEST = 24, 64
"""The length of a secret in bytes."""


class BadSecret(ValueError):
    """The text is not a secret for signatures. The message does not repeat it."""


def key_of(secret: str) -> bytes:
    """The bytes of a secret: `whsec_` and their base64 text.

    Raises:
        BadSecret: it has another form.
    """
    if not secret.startswith(PREFIX):
        raise BadSecret(f"must begin with {PREFIX}")
    text = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret(f"must be base64 after {PREFIX}") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise BadSecret(f"must have {SHORTEST} to {LONGEST} bytes")
    return key


def signed_headers(keys: Iterable[bytes], *, id_: str, at: float, body: bytes) -> Mapping[str, str]:
    """The headers of a message that is sent `at` this time, in seconds since 1970, with a signature of each key."""
    sent_at = str(int(at))
    content = b".".join((id_.encode(), sent_at.encode(), body))
    signatures = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": id_,
        "webhook-timestamp": sent_at,
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }

"""The `Idempotency-Key` header of a request that starts a run."""

from starlette.datastructures import Headers

from graph_agent.errors import InvalidRequest
from graph_agent.redaction import redact

HEADER = "Idempotency-Key"

LONGEST = 255
"""Characters of a key. It is part of the key of a row."""


def idempotency_key(headers: Headers) -> str | None:
    """The key, or `None` if the request has none.

    Raises:
        InvalidRequest: the header occurs twice, or its value cannot be a key.
    """
    found = headers.getlist(HEADER)
    if not found:
        return None
    key = found[0]
    if len(found) > 1:
        raise _wrong("occurs twice; send it once")
    if not (0 < len(key) <= LONGEST and key.isprintable()):
        raise _wrong(f"must have 1 to {LONGEST} characters, all of them printable")
    # Secrets are not stored, and without them two keys could be one.
    if redact(key) != key:
        raise _wrong("looks like a secret; choose another one, such as a UUID")
    return key


def _wrong(why: str) -> InvalidRequest:
    return InvalidRequest(f"The header `{HEADER}` {why}.", param=HEADER)

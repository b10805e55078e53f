"""Reads the JSON body of a request as an object, and removes or finds the secrets that a caller pasted into it."""

from typing import Any

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.field_checks import at, kind_of
from graph_agent.protocol.json_decoding import Pulse, UnusableJson, decode
from graph_agent.redaction import redacting_value

MAX_PATH = 8
"""Longest path, in steps, that an error spells out."""


def body_fields(body: bytes, pulse: Pulse, *, subject: str = "The body") -> dict[str, Any]:
    """The fields of a body. Takes time linear in its length and calls `pulse` often. `subject` is what errors call it.

    Raises:
        InvalidRequest: the body is not a JSON object that can be processed. `param` is the path of the value.
    """
    try:
        # `utf-8-sig` accepts a byte order mark, which some clients send.
        fields = decode(body.decode("utf-8-sig"), pulse=pulse)
    except UnicodeDecodeError:
        raise InvalidRequest(f"{subject} must be JSON in UTF-8; it contains bytes that are not UTF-8.") from None
    except UnusableJson as flaw:
        raise _unusable(flaw, subject) from None
    if not isinstance(fields, dict):
        raise InvalidRequest(f"{subject} must be a JSON object; got {kind_of(fields)}.")
    return fields


def redacted(value: Any, pulse: Pulse) -> Any:
    """The value without secrets."""
    steps = redacting_value(value)
    while True:
        pulse()
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def secret_in(value: Any, path: str, pulse: Pulse) -> str | None:
    """The path of the first secret in the value, or `None`. `path` is that of the value."""
    return _first_change(value, redacted(value, pulse), path, pulse)


def _first_change(value: Any, changed: Any, path: str, pulse: Pulse) -> str | None:
    pulse()
    match value, changed:
        case dict(), dict() if value.keys() == changed.keys():
            inner = [(key, value[key], changed[key]) for key in value]
        case list(), list() if len(value) == len(changed):
            inner = list(zip(range(len(value)), value, changed, strict=True))
        case _:
            # A name may be a secret too. Then the path ends before it.
            return None if value == changed else path
    for key, one, other in inner:
        if found := _first_change(one, other, at(path, key), pulse):
            return found
    return None


def _unusable(flaw: UnusableJson, subject: str) -> InvalidRequest:
    # A long path does not help the reader, so a value nested that deep is named by its top field.
    path = flaw.path if len(flaw.path) <= MAX_PATH else flaw.path[:1]
    param = ""
    for key in path:
        param = at(param, key)
    return InvalidRequest(f"{f'`{param}`' if param else subject} {flaw.reason}.", param=param or None)

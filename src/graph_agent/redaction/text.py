"""Whole texts and JSON-like values without their secrets."""

import re
import string
from collections.abc import Iterator, Mapping
from typing import Any

from graph_agent.redaction.kinds import ALL_HINTS, KINDS, Kind
from graph_agent.redaction.known import KNOWN, Known, hidden_here

KNOWN_MARKER = "[redacted known secret]"

_SENSITIVE = re.compile(
    r"(?i)(?:^|[_.-])(?:password|passwd|passphrase|pwd|secret|client_?secret|api_?key|secret_?(?:access_?)?key"
    r"|(?:access|refresh|auth|bearer|session)_?token|account_?key|private_?key|authorization|cookie)\Z"
)

LEAST_PAYLOAD = 256
"""Characters; nobody's key is as long, so that none hides behind `;base64,`."""

_BASE64 = ";base64,"
_CONTENT_KEYS = frozenset({"file_data", "image_url", "file_url"})
_AN_ADDRESS = re.compile(r"\A(?:data:\S++\Z|https?://[^\s/?#@]++(?:[/?#]\S*+)?\Z)")
_PAYLOAD = re.compile(r"[A-Za-z0-9+/=_-]*")
_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}

Span = tuple[int, int, str]
"""Start, end, and what to put there."""


def redact(text: str) -> str:
    """The text with every secret replaced by a marker that says its kind; time is linear in the text's length."""
    spans = found(text, hidden_here())
    return replaced(text, spans) if spans else text


def redact_value(value: Any) -> Any:
    """The same for JSON-like values: texts, keys, lists and mappings; anything else is returned as it is.

    The text under a key such as `password` goes whole, whatever it looks like.
    """
    match value:
        case str():
            return redact(value)
        case Mapping():
            return {_key(key): _under(key, one) for key, one in value.items()}
        case list():
            return [redact_value(one) for one in value]
        case tuple() if type(value) is tuple:
            return tuple(map(redact_value, value))
    return value


def _key(key: Any) -> Any:
    return redact(key) if isinstance(key, str) else key


def _under(key: Any, value: Any) -> Any:
    if isinstance(key, str) and key in _CONTENT_KEYS:
        return _content(value)
    if isinstance(key, str) and isinstance(value, str) and value and _SENSITIVE.search(key):
        return value if value.startswith("[redacted ") else "[redacted secret]"
    return redact_value(value)


def _content(value: Any) -> Any:
    """An image or a file by its content or address: with a part replaced it is another one, or none."""
    payload = isinstance(value, str) and len(value) >= LEAST_PAYLOAD and _PAYLOAD.fullmatch(value)
    if isinstance(value, str) and (payload or _AN_ADDRESS.match(value)):
        return replaced(value, [*_joined(sorted(_known(value, hidden_here())))])
    if isinstance(value, Mapping) and isinstance(url := value.get("url"), str):
        return {**redact_value({name: one for name, one in value.items() if name != "url"}), "url": _content(url)}
    return redact_value(value)


def found(text: str, here: Known | None) -> list[Span]:
    """Every secret in the text, in order; where two overlap, both as one."""
    spans = list(_found(text, here))
    if len(spans) > 1:
        spans.sort()
        spans = list(_joined(spans))
    return spans


def _found(text: str, here: Known | None) -> Iterator[Span]:
    yield from _known(text, here)
    for start, end in _readable(text):
        lower = lowered(text[start:end])
        present = {hint for hint in ALL_HINTS if hint in lower}
        if present:
            for kind in KINDS:
                for hint in kind.hints:
                    if hint in present:
                        yield from _of_kind(kind, hint, text, lower, start)


def _known(text: str, here: Known | None) -> Iterator[Span]:
    for known in (KNOWN, here):
        if known is not None:
            yield from ((*span, KNOWN_MARKER) for span in known.spans(text))


def lowered(text: str) -> str:
    """In lower case, every letter at its place: a few are longer in lower case, and then only ASCII is lowered."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text.translate(_LOWER)


def _of_kind(kind: Kind, hint: str, text: str, lower: str, start: int) -> Iterator[Span]:
    """Secrets of a part of the text, `lower`, that begins at `start`. Tried only where the hint stands: a plain search
    is many times faster than a pattern's."""
    end = start + len(lower)
    place = lower.find(hint)
    while place >= 0:
        match = kind.whole.match(text, start + place, end)
        if match:
            yield (*match.span("secret"), kind.marker)
        place = lower.find(hint, max(match.end() - start if match else 0, place + 1))


def _readable(text: str) -> Iterator[tuple[int, int]]:
    """The parts of a text between images and files in base64, which hold anything by chance."""
    done, place = 0, text.find(_BASE64)
    while place >= 0:
        start = place + len(_BASE64)
        match = _PAYLOAD.match(text, start)
        end = match.end() if match else start
        if end - start >= LEAST_PAYLOAD:
            yield done, start
            done = end
        place = text.find(_BASE64, end)
    yield done, len(text)


def _joined(spans: list[Span]) -> Iterator[Span]:
    if not spans:
        return
    start, end, marker = spans[0]
    for one in spans[1:]:
        if one[0] < end:
            end = max(end, one[1])
        else:
            yield start, end, marker
            start, end, marker = one
    yield start, end, marker


def replaced(text: str, spans: list[Span], *, start: int = 0, end: int | None = None) -> str:
    """The part of the text from `start` to `end` with the spans that touch it replaced."""
    end = len(text) if end is None else end
    pieces, done = [], start
    for first, last, marker in spans:
        if last <= start or first >= end:
            continue
        pieces += [text[done : max(first, done)], marker]
        done = last
    pieces.append(text[done:end])
    return "".join(pieces)

"""Redacts whole texts, in one go or in steps."""

import re
import string
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextvars import ContextVar
from heapq import merge
from types import MappingProxyType
from typing import TypeVar

from graph_agent.redaction.kinds import ALL_HINTS, ANY_HINT, KINDS, Kind
from graph_agent.redaction.known_secrets import HIDDEN_VALUES, KnownSecrets, current_hidden_values
from graph_agent.redaction.placeholders import is_placeholder

KNOWN_MARKER = "[redacted known secret]"

AT_ONCE = 65_536
"""Characters that are scanned without a pause: a few milliseconds."""

TRIED_AT_ONCE = 500
"""Offsets that are checked without a pause."""

SHORT = 256
"""Characters of a text in which nothing is found in a few microseconds. Names, ids and words are redacted most often,
and nearly none of them holds a secret."""

LEAST_PAYLOAD = 256
"""Least characters of base64 that is skipped as an image or a file. Keys are shorter, so `;base64,` cannot hide one."""

_BASE64 = ";base64,"
PAYLOAD = re.compile(r"[A-Za-z0-9+/=_-]*+")
_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}

Span = tuple[int, int, str]
"""Start, end, and the replacement."""

T = TypeVar("T")

AHEAD: ContextVar[Mapping[str, str]] = ContextVar("graph_agent_redacted_ahead", default=MappingProxyType({}))
"""Long texts that were redacted already in steps, with their redacted form."""

Steps = Generator[None, None, T]
"""Work that yields every few milliseconds, so that the caller can let other tasks run. It returns its value."""


def finished(steps: Steps[T]) -> T:
    """Run the steps without a pause and return their value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value


def redact(text: str) -> str:
    """Replace every secret by a marker that names its kind. The time is linear in the length of the text."""
    if len(text) > AT_ONCE:
        return finished(redacting(text))
    spans = found(text, current_hidden_values())
    return replaced(text, spans) if spans else text


def redacting(text: str) -> Steps[str]:
    """Do the same as `redact` in steps of a few milliseconds."""
    if len(text) <= AT_ONCE:
        return redact(text)
    if (ready := AHEAD.get().get(text)) is not None:
        return ready
    # Spans come in sorted runs, one for each hint. Merging the runs can pause in between; one sort of hundreds of
    # thousands of spans could not.
    lists: list[list[Span]] = [[]]
    for one in _found(text, current_hidden_values()):
        if one is None:
            yield
        else:
            if lists[-1] and one < lists[-1][-1]:
                lists.append([])
            lists[-1].append(one)
    pieces, done = [], 0
    for count, (start, end, marker) in enumerate(_joined(merge(*lists))):
        pieces += [text[done:start], marker]
        done = end
        if not count % TRIED_AT_ONCE:
            yield
    return "".join([*pieces, text[done:]])


def found(text: str, here: KnownSecrets | None) -> list[Span]:
    """Return every secret in the text, in order. Overlapping secrets are joined."""
    if len(text) <= SHORT and is_clear(text, here):
        return []
    spans = [one for one in _found(text, here) if one is not None]
    if len(spans) > 1:
        spans.sort()
        spans = list(_joined(spans))
    return spans


def is_clear(text: str, here: KnownSecrets | None) -> bool:
    """Return whether the text has neither a known value nor a hint of a secret."""
    lower = lowered(text)
    for sign, hints in ANY_HINT:
        if sign in lower and hints.search(lower):
            return False
    for known in (HIDDEN_VALUES, here):
        if known is not None:
            for value in known.values:
                if value in text:
                    return False
    return True


def _found(text: str, here: KnownSecrets | None) -> Iterator[Span | None]:
    """Yield the secrets, and `None` every few milliseconds, where the caller may pause."""
    yield from _known(text, here)
    for start, end in _readable(text):
        yield None
        lower = yield from _lowering(text[start:end])
        present, big = set(), len(lower) > AT_ONCE
        for sign, hints in ALL_HINTS:
            if sign in lower:
                for hint in hints:
                    if hint in lower:
                        present.add(hint)
                    if big:
                        yield None
        if present:
            for kind in KINDS:
                for hint in kind.hints:
                    if hint in present:
                        yield from _of_kind(kind, hint, text, lower, start)


def _known(text: str, here: KnownSecrets | None) -> Iterator[Span | None]:
    """Find known values. They are few, and one plain search for each is faster than one pattern for all."""
    big, tried = len(text) > AT_ONCE, 0
    for known in (HIDDEN_VALUES, here):
        for value in known.values if known is not None else ():
            start = text.find(value)
            while start >= 0:
                yield start, start + len(value), KNOWN_MARKER
                tried += 1
                if not tried % TRIED_AT_ONCE:
                    yield None
                start = text.find(value, start + len(value))
            if big:
                yield None


def lowered(text: str) -> str:
    """Lower the case without moving any letter.

    A few letters, such as a dotted capital I, become longer in lower case. Then only ASCII letters are lowered.
    """
    lower = text.lower()
    return lower if len(lower) == len(text) else text.translate(_LOWER)


def _lowering(text: str) -> Generator[None, None, str]:
    if len(text) <= AT_ONCE:
        return lowered(text)
    parts = []
    for start in range(0, len(text), AT_ONCE):
        parts.append(lowered(text[start : start + AT_ONCE]))
        yield None
    return "".join(parts)


def _of_kind(kind: Kind, hint: str, text: str, lower: str, start: int) -> Iterator[Span | None]:
    """Find secrets of one kind in a part of the text. `lower` is that part in lower case, which begins at `start`.

    The pattern is only tried where the hint occurs, because a plain search is many times faster than a pattern's.
    """
    end, tried = start + len(lower), 0
    place = lower.find(hint)
    while place >= 0:
        match = kind.whole.match(text, start + place, min(end, start + place + AT_ONCE))
        if match and kind.drawn and is_placeholder(match[kind.drawn]):
            match = None
        if match:
            first, last = match.span("secret")
            # The match is cut at `AT_ONCE` characters. A longer secret goes on in steps.
            while start + place + AT_ONCE <= last < end and (more := kind.run.match(text, last, last + AT_ONCE)):
                yield None
                if more.end() == last:
                    break
                last = more.end()
            yield first, last, kind.marker
        tried += 1
        if not tried % TRIED_AT_ONCE:
            yield None
        place = lower.find(hint, max(last - start if match else 0, place + 1))


def _readable(text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text between images and files in base64, in which a match would be chance."""
    done, place = 0, text.find(_BASE64)
    while place >= 0:
        start = place + len(_BASE64)
        match = PAYLOAD.match(text, start)
        end = match.end() if match else start
        if end - start >= LEAST_PAYLOAD:
            yield done, start
            done = end
        place = text.find(_BASE64, end)
    yield done, len(text)


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    several = iter(spans)
    first = next(several, None)
    if first is None:
        return
    start, end, marker = first
    for one in several:
        if one[0] < end:
            end = max(end, one[1])
        else:
            yield start, end, marker
            start, end, marker = one
    yield start, end, marker


def replaced(text: str, spans: list[Span], *, start: int = 0, end: int | None = None) -> str:
    """Return the text from `start` to `end`, with the spans that overlap it replaced."""
    end = len(text) if end is None else end
    pieces, done = [], start
    for first, last, marker in spans:
        if max(first, start) >= min(last, end):
            continue
        pieces += [text[done : max(first, done)], marker]
        done = last
    pieces.append(text[done:end])
    return "".join(pieces)

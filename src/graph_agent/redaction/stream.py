"""Redacts text that arrives in pieces. A piece is held back only while it may be the beginning of a secret."""

import re
from collections.abc import Mapping, Sequence

from graph_agent.redaction.kinds import ANY_HINT, HINTS, KINDS, STEMS, Kind
from graph_agent.redaction.known_secrets import HIDDEN_VALUES, KnownSecrets, current_hidden_values
from graph_agent.redaction.text import AT_ONCE, Span, found, lowered, replaced

CONTEXT = 160
"""Characters before a piece that decide about it, such as `password: `, or the scheme and user of a URL."""

MOST_HELD = 16_384
"""Most characters that are held back. A JWT with many groups has 4,000.

If a secret is longer, its marker is sent and what may still belong to it is dropped. Text that only might have become a
secret is sent as it is.
"""

_NEAR = 12
"""Characters before a piece in which a hint may have started."""

_NAME = 48
"""Characters before an equals sign or a colon that are searched for a name."""

_SOON = 8
"""Most characters between a name and its value: spaces and quotes."""

RUNS: Mapping[str, Sequence[re.Pattern[str]]] = {
    marker: [kind.run for kind in KINDS if kind.marker == marker] for marker in {kind.marker for kind in KINDS}
}
"""By marker, the characters with which such a secret may continue."""

ALWAYS = 1 << 62

HINTED = tuple((sign, pattern.search) for sign, pattern in ANY_HINT if sign in dict(HINTS))
"""For each sign, the search for any of the hints with it."""

_SMALL = 256
"""Characters that may be held back and scanned again with each piece."""


def portions(text: str) -> Sequence[str]:
    """Split the text into portions that a `Redactor` scans in a few milliseconds each. Nearly always it is one."""
    if len(text) <= AT_ONCE:
        return (text,)
    return [text[start : start + AT_ONCE] for start in range(0, len(text), AT_ONCE)]


class Redactor:
    """Redacts one text as it arrives. `feed` returns what may be shown now, and `flush` returns the rest.

    If the fixed prefix of a secret, such as `dapi`, arrived in an earlier piece, that prefix was shown. Of a known
    value, at most the first two characters are.
    """

    __slots__ = ("_before", "_held", "_here", "_looked", "_wary", "_within")

    def __init__(self) -> None:
        self._here: KnownSecrets | None = current_hidden_values()
        self._before = ""
        """The end of the text that was shown."""
        self._held = ""
        self._wary = 0
        """Characters within which the value of a name that was just shown may still start."""
        self._looked = 0
        """How many characters were held back when they were last scanned."""
        self._within: Sequence[re.Pattern[str]] = ()
        """Patterns for the rest of a secret whose marker was shown before its end."""

    def feed(self, piece: str) -> str:
        """Take a piece and return what may be shown now. Nearly always it is the piece itself."""
        # The fast path. Most pieces of an answer contain no hint, and every token of every answer passes here.
        if not self._held and self._wary <= 0 and not self._hinted(piece):
            self._before = (self._before + piece)[-CONTEXT:]
            return piece
        return self._carefully(piece)

    def flush(self) -> str:
        """Return what was held back, and start again for another text."""
        text, start = self._before + self._held, len(self._before)
        shown = replaced(text, found(text, self._here), start=start) if self._held else ""
        self._before = self._held = ""
        self._wary = self._looked = 0
        self._within = ()
        return shown

    def _hinted(self, piece: str) -> bool:
        text = self._before[-_NEAR:] + piece
        lower = text.lower()
        for sign, hinted in HINTED:
            if sign in lower and hinted(lower) is not None:
                return True
        for known in (HIDDEN_VALUES, self._here):
            if known is not None:
                for beginning in known.beginnings:
                    if beginning in text:
                        return True
                if known.many and known.begins_in(text):
                    return True
        if ":" in piece or "=" in piece:
            lower = (self._before[-_NAME:] + piece).lower()
            return any(stem in lower for stem in STEMS) or "://" in self._before or "://" in text
        return False

    def _carefully(self, piece: str) -> str:
        if self._within:
            piece = self._beyond(piece)
        self._wary -= len(piece)
        self._held += piece
        # Scanning a growing text at every piece would be quadratic, so it must grow by an eighth first.
        if _SMALL < len(self._held) < min(self._looked * 9 // 8, MOST_HELD):
            return ""
        text, start = self._before + self._held, len(self._before)
        spans = found(text, self._here)
        full = len(self._held) >= MOST_HELD
        end = len(text) if full else max(start, self._pending(text, spans))
        shown = replaced(text, spans, start=start, end=end)
        # The context is the redacted text. Otherwise the end of a secret that was replaced could be found again.
        self._before, self._held = (self._before + shown)[-CONTEXT:], text[end:]
        self._looked = len(self._held)
        if full and spans and spans[-1][1] == end and (runs := RUNS.get(spans[-1][2])):
            self._within, self._wary = runs, ALWAYS
        return shown

    def _beyond(self, piece: str) -> str:
        """Return the piece without the rest of a secret."""
        rest = piece[max(match.end() for run in self._within if (match := run.match(piece))) :]
        if rest:
            self._within, self._wary = (), 0
        return rest

    def _pending(self, text: str, spans: list[Span]) -> int:
        """Return the offset from which the text may be an incomplete secret."""
        place = min(known.begun(text) for known in (HIDDEN_VALUES, self._here or HIDDEN_VALUES))
        lower, backwards = lowered(text), text[: -MOST_HELD - 1 : -1]
        for kind in KINDS:
            for hint in kind.hints:
                if hint in lower:
                    place = min(place, self._begun(kind, hint, text, lower, backwards))
        for first, last, _ in reversed(spans):
            if last == len(text) or first < place < last:
                place = min(place, first)
        return place

    def _begun(self, kind: Kind, hint: str, text: str, lower: str, backwards: str) -> int:
        """Return the offset from which the text may be a secret of this kind; the text's length if none."""
        run = kind.run.match(backwards)
        # The context before a secret is short, so a hint that is further back cannot reach the end of the text.
        position = lower.find(hint, max(0, len(text) - (run.end() if run else 0) - CONTEXT))
        while position >= 0:
            match = kind.begun.match(text, position)
            if match and match.end() == len(text):
                if match.start("secret") < len(text):
                    return match.start("secret")
                # The context is there, and the secret itself has not started.
                self._wary = _SOON
            position = lower.find(hint, position + 1)
        return len(text)

"""Text that comes piece by piece, without its secrets: a piece waits only while it may be the beginning of one."""

import re
from collections.abc import Mapping, Sequence

from graph_agent.redaction.kinds import HINTS, KINDS, STEMS, Kind
from graph_agent.redaction.known_secrets import HIDDEN_VALUES, KnownSecrets, current_hidden_values
from graph_agent.redaction.text import AT_ONCE, Span, found, lowered, replaced

CONTEXT = 160
"""Characters behind the present that decide about it: `password: `, or a scheme and a user."""

MOST_HELD = 16_384
"""Characters held back at most; a JWT with many groups has 4,000. Of a longer secret what follows is left out as long
as it may belong to it; what only may have become one goes out as it stands."""

_NEAR = 12
"""Characters before a piece in which a hint may have begun."""

_NAME = 48
"""Characters before an equals sign or a colon in which the name of a value stands."""

_SOON = 8
"""Characters between a name and its value: spaces and quotes."""

RUNS: Mapping[str, Sequence[re.Pattern[str]]] = {
    marker: [kind.run for kind in KINDS if kind.marker == marker] for marker in {kind.marker for kind in KINDS}
}
"""What a secret that a marker stands for may go on with."""

ALWAYS = 1 << 62

_SMALL = 256
"""Characters that may be held and looked at anew with each piece."""


def portions(text: str) -> Sequence[str]:
    """The text in portions that a `Redactor` looks through in a few milliseconds each: nearly always one."""
    if len(text) <= AT_ONCE:
        return (text,)
    return [text[start : start + AT_ONCE] for start in range(0, len(text), AT_ONCE)]


class Redactor:
    """One text under way: `feed` gives what may be shown of it now, `flush` the rest.

    Where a secret's kind shows by fixed first letters such as `dapi`, and they came in an earlier piece, those letters
    were shown; of known values at most the first two characters.
    """

    __slots__ = ("_before", "_held", "_here", "_looked", "_wary", "_within")

    def __init__(self) -> None:
        self._here: KnownSecrets | None = current_hidden_values()
        self._before = ""
        """The end of what was shown."""
        self._held = ""
        self._wary = 0
        """Characters for which the value of a name just shown may yet begin."""
        self._looked = 0
        """How much was held when it was last looked at."""
        self._within: Sequence[re.Pattern[str]] = ()
        """What may go on of a secret whose marker was shown before its end."""

    def feed(self, piece: str) -> str:
        """What may be shown now: nearly always the piece itself."""
        if not self._held and self._wary <= 0 and not self._hinted(piece):
            self._before = (self._before + piece)[-CONTEXT:]
            return piece
        return self._carefully(piece)

    def flush(self) -> str:
        """What was held back, and begin anew."""
        text, start = self._before + self._held, len(self._before)
        shown = replaced(text, found(text, self._here), start=start) if self._held else ""
        self._before = self._held = ""
        self._wary = self._looked = 0
        self._within = ()
        return shown

    def _hinted(self, piece: str) -> bool:
        text = self._before[-_NEAR:] + piece
        lower = text.lower()
        for sign, hints in HINTS:
            if sign in lower:
                for hint in hints:
                    if hint in lower:
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
        # Looking at a growing text at every piece would be quadratic.
        if _SMALL < len(self._held) < min(self._looked * 9 // 8, MOST_HELD):
            return ""
        text, start = self._before + self._held, len(self._before)
        spans = found(text, self._here)
        full = len(self._held) >= MOST_HELD
        end = len(text) if full else max(start, self._pending(text, spans))
        shown = replaced(text, spans, start=start, end=end)
        # As it was shown: of a secret that is told already no part is told again.
        self._before, self._held = (self._before + shown)[-CONTEXT:], text[end:]
        self._looked = len(self._held)
        if full and spans and spans[-1][1] == end and (runs := RUNS.get(spans[-1][2])):
            self._within, self._wary = runs, ALWAYS
        return shown

    def _beyond(self, piece: str) -> str:
        """The piece without what goes on of a secret."""
        rest = piece[max(match.end() for run in self._within if (match := run.match(piece))) :]
        if rest:
            self._within, self._wary = (), 0
        return rest

    def _pending(self, text: str, spans: list[Span]) -> int:
        """From where on the text may be the beginning of a secret, or one that goes on."""
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
        """From where on the text may be a secret of this kind; its length where it is none."""
        run = kind.run.match(backwards)
        # What stands before the characters of a secret is short: nothing earlier can reach to the end.
        position = lower.find(hint, max(0, len(text) - (run.end() if run else 0) - CONTEXT))
        while position >= 0:
            match = kind.begun.match(text, position)
            if match and match.end() == len(text):
                if match.start("secret") < len(text):
                    return match.start("secret")
                # What stands before a secret is there, and nothing of it yet.
                self._wary = _SOON
            position = lower.find(hint, position + 1)
        return len(text)

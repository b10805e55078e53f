"""The tokens of a log in little memory. Most of a token's event is in the events before it, too."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Self

ENDS = {
    "response.output_text.delta": b'","logprobs":[],"sequence_number":%d}',
    "response.reasoning_summary_text.delta": b'","sequence_number":%d}',
}
"""How the JSON of a token goes on behind its text, by its type. One that goes on otherwise, such as with probabilities,
is not packed."""

TOKENS = frozenset(ENDS)
"""The types of the events of tokens."""

BEFORE = b'"delta":"'
"""What is before the text of a token."""

LEAST, MOST = 2, 1_024
"""The fewest and the most tokens that are packed together. A reader of some of them unpacks them all."""

Numbered = tuple[int, str, bytes]
"""The number of an event, its type, and its JSON."""


class PackedTokens:
    """Tokens of one text, whose numbers follow each other. What their events have in common is kept once."""

    __slots__ = ("_count", "_texts", "_type", "begin", "first")

    def __init__(self, type_: str, begin: bytes, first: int, texts: Sequence[bytes]) -> None:
        """`begin` is the JSON before the text, and `texts` are the texts as JSON without their quotes."""
        self._type, self.begin = type_, begin
        # JSON has no line ends in strings.
        self._texts, self._count = b"\n".join(texts), len(texts)
        self.first = first
        """The number of the first token."""

    def __len__(self) -> int:
        return self._count

    @property
    def saves(self) -> int:
        """The bytes of JSON that are kept once instead of once for each token."""
        return (self._count - 1) * (len(self.begin) + len(ENDS[self._type]))

    def between(self, first: int, end: int) -> Iterator[Numbered]:
        """The events with the numbers from `first` on and below `end`, byte for byte."""
        after = ENDS[self._type]
        texts = self._texts.split(b"\n")[first - self.first : end - self.first]
        for number, text in enumerate(texts, first):
            yield number, self._type, b"%b%b%b" % (self.begin, text, after % number)

    @classmethod
    def of(cls, events: Sequence[Numbered], *, begin: bytes = b"") -> Iterator[Self]:
        """Pack what can be packed of these events, whose numbers follow each other. `begin` is that of the packed
        tokens before them, which is not kept twice."""
        at = 0
        while at < len(events):
            number, kind, data = events[at]
            where = data.find(BEFORE) if kind in TOKENS else -1
            texts: list[bytes] = []
            if where >= 0:
                own = data[: where + len(BEFORE)]
                begin = begin if begin == own else own
                texts = _texts(events, at, kind, begin)
                if len(texts) >= LEAST:
                    yield cls(kind, begin, number, texts)
            at += max(len(texts), 1)


def _texts(events: Sequence[Numbered], at: int, kind: str, begin: bytes) -> list[bytes]:
    """The texts of at most `MOST` events from this place on, as long as they have the type and the beginning."""
    after, cut, found = ENDS[kind], len(begin), []
    for number, other, data in islice(events, at, at + MOST):
        end = after % number
        if other != kind or not (data.startswith(begin) and data.endswith(end)):
            break
        found.append(data[cut : -len(end)])
    return found

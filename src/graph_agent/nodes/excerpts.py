"""Excerpts: what a model sees of a passage, if it is longer than what the model should read.

Most of the time before the first word of a small model is reading, and most of what it reads of a passage is about
something else. So the sentences, rows and items around the words of the question are kept, and the heading above them.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Self

SHARES = (1.0, 0.85, 0.6, 0.45)
"""What the first passages get of the limit, and each later one the last share: the first one answers most often."""

SHORTEST_EXCERPT = 100
"""Characters of the first passage that a model needs at least: below it, an excerpt says nothing."""

LONGEST_HEADING = 160
"""Characters of the first paragraph of a passage, up to which it is its heading and stays."""

LONGEST_READ = 20_000
"""Characters of a passage in which the words are looked for."""

NEIGHBOR = 0.25
"""What a piece is worth for standing beside one that has words of the question, as a share of that one's worth."""

HALF_AS_DENSE = 400
"""Characters of a piece at which a word in it counts half."""

GAP = "…"
"""Stands where pieces were left out."""

_WORD = re.compile(r"[^\W_]+")
_OF_ITS_OWN = re.compile(r"(?:[|#>]|[-*+] |\d{1,3}[.)] |```)")
_ROW = "|"
_FENCE = "```"
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=\S)|(?<=[\u3002\uff01\uff1f])(?=\S)")

STEM = 6
"""Letters of a word that are compared, so that other endings of it count."""


def excerpts(passages: Sequence[str], asked: str, *, longest: int) -> list[str]:
    """The passages, each with at most its share of `longest` characters, in what has most words of `asked`.

    A passage that fits stays as it is, and none gets longer. Words that few of the pieces have count more.
    """
    pieces = [_Pieces.of(passage, round(longest * share)) for passage, share in zip(passages, _shares(), strict=False)]
    everything = [piece for one in pieces for piece in one.words]
    holders = Counter(word for words in everything for word in words)
    weights = {word: math.log(1 + len(everything) / holders[word]) for word in _words(asked) if word in holders}
    return [one.best(weights) for one in pieces]


def _shares() -> Iterator[float]:
    return chain(SHARES, repeat(SHARES[-1]))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A passage and its pieces, which are empty if it fits."""

    passage: str
    longest: int
    heading: str = ""
    texts: Sequence[str] = ()
    words: Sequence[frozenset[str]] = ()

    @classmethod
    def of(cls, passage: str, longest: int) -> Self:
        if len(passage) <= longest:
            return cls(passage, longest)
        heading, _, body = passage[:LONGEST_READ].partition("\n\n")
        if len(heading) > min(LONGEST_HEADING, longest // 2) or not body.strip():
            heading, body = "", passage[:LONGEST_READ]
        texts = list(_pieces(body))
        return cls(passage, longest, heading, texts, [frozenset(_words(text)) for text in texts])

    def best(self, weights: Mapping[str, float]) -> str:
        """The heading and the pieces that are worth most, in their order, in so many characters."""
        if len(self.passage) <= self.longest:
            return self.passage
        left = self.longest - len(self.heading) - 1
        worths = self._worths(weights)
        kept: set[int] = set()
        for place in sorted(range(len(self.texts)), key=worths.__getitem__, reverse=True):
            if len(self.texts[place]) + 1 <= left or not kept:
                kept.add(place)
                left -= len(self.texts[place]) + 1
        lines = [self.heading] if self.heading else []
        before = -1
        for place in sorted(kept):
            if place > before + 1:
                lines.append(GAP)
            lines.append(self.texts[place])
            before = place
        if before < len(self.texts) - 1:
            lines.append(GAP)
        return "\n".join(lines)[: self.longest]

    def _worths(self, weights: Mapping[str, float]) -> list[float]:
        """How much of the question each piece has, and of its neighbors a little."""
        own = [
            # A long piece has more words by chance, and takes the room of others.
            sum(weights.get(word, 0.0) for word in words) / (1 + len(text) / HALF_AS_DENSE)
            for text, words in zip(self.texts, self.words, strict=True)
        ]
        return [
            worth + NEIGHBOR * sum(own[max(0, place - 1) : place] + own[place + 1 : place + 2])
            for place, worth in enumerate(own)
        ]


def _pieces(body: str) -> Iterator[str]:
    """Sentences, and rows, items and lines of code by themselves."""
    prose: list[str] = []
    fenced = False
    for line in body.splitlines():
        said = line.strip()
        if fenced or not said or _OF_ITS_OWN.match(said):
            yield from _sentences(prose)
            prose = []
        if said.startswith(_FENCE):
            fenced = not fenced
        elif not said:
            continue
        elif fenced or said.startswith(_ROW):
            yield line.rstrip()
        else:
            # The first line of an item keeps its indentation.
            prose.append(said if prose else line.rstrip())
    yield from _sentences(prose)


def _sentences(lines: Sequence[str]) -> Iterator[str]:
    return (one for one in _SENTENCE_END.split(" ".join(lines)) if one.strip())


def _words(text: str) -> Iterator[str]:
    """Words of three letters or more without endings, numbers, and pairs of letters where words have no spaces."""
    for word in _WORD.findall(text.casefold()):
        if word[0] >= "\u2e80":
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        elif len(word) > 2 or word.isdigit():
            yield word[:STEM]

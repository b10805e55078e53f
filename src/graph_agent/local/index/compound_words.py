"""Finds words inside words: German, Dutch, Swedish and Finnish write one word where English writes two.

For example, `Kündigungsfrist` is the German for "notice period".
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEAST_LETTERS = 5
"""Shorter words occur in too many others by chance, such as `port` in `report`."""

MOST_TERMS = 50
"""Longer words that are considered for one word."""

# German plural and case endings, and the letters that German puts between the parts of a compound.
ENDINGS = ("en", "er", "es", "e", "n", "s")
LINKS = ("s", "es", "n", "en", "er", "e")
"""Letters that may be between two parts of a compound."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The terms of an index, sorted forwards and backwards.

    Binary search in the two lists finds the terms that begin or end with a word.
    """

    terms: Sequence[str]
    backwards: Sequence[str]

    @classmethod
    def of(cls, terms: Iterable[str]) -> "Vocabulary":
        long = [term for term in terms if len(term) >= LEAST_LETTERS and term.isalpha()]
        return cls(sorted(long), sorted(term[::-1] for term in long))

    def related(self, word: str, *, known: bool) -> list[str]:
        """The terms that begin or end with a word. If the word is not `known`, also the terms that it is made of."""
        word = fold(word)
        if len(word) < LEAST_LETTERS or not word.isalpha():
            return []
        found = self._longer(word)
        if not known:
            stem = next((word[: -len(end)] for end in ENDINGS if word.endswith(end)), word)
            found += self._longer(stem) if len(stem) >= LEAST_LETTERS - 1 else []
            found += self._parts(word)
        return list(dict.fromkeys(term for term in found if term != word))

    def _longer(self, word: str) -> list[str]:
        # Shorter additions are mostly endings and not words.
        least = len(word) + 3
        ends = [term[::-1] for term in terms_with_prefix(self.backwards, word[::-1])]
        return [term for term in [*terms_with_prefix(self.terms, word), *ends] if len(term) >= least][:MOST_TERMS]

    def _parts(self, word: str) -> list[str]:
        cuts = range(LEAST_LETTERS, len(word) - LEAST_LETTERS + 1)
        # From the longest first part to the shortest, so that a part that is a compound itself stays whole.
        for cut in reversed(cuts):
            first, second = word[:cut], word[cut:]
            starts = [first, *(first[: -len(link)] for link in LINKS if first.endswith(link))]
            stems = [second, *(second[: -len(end)] for end in ENDINGS if second.endswith(end))]
            known = [
                next((part for part in parts if len(part) >= LEAST_LETTERS and contains_term(self.terms, part)), None)
                for parts in (starts, stems)
            ]
            if all(known):
                return [part for part in known if part]
        return []


def fold(word: str) -> str:
    """Fold a word as SQLite's tokenizer does: lower case, without accents."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(sign))


def contains_term(terms: Sequence[str], word: str) -> bool:
    at = bisect_left(terms, word)
    return at < len(terms) and terms[at] == word


def terms_with_prefix(terms: Sequence[str], start: str) -> Sequence[str]:
    at = bisect_left(terms, start)
    return [term for term in terms[at : at + MOST_TERMS] if term.startswith(start)]

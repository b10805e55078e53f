"""Finds copies among passages: identical ones, and near-identical ones that say the same.

A folder that is kept seven times gives a search the same passage seven times, and leaves no room for others.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from langchain_core.documents import Document

ALIKE = 0.9
"""Share of common runs of words (Jaccard) from which two passages are near-identical. Of 130 words, two may be others,
or a dozen more at one end."""

LENGTHS = 0.8
"""Least ratio of the lengths of near-identical passages, in characters."""

RUN = 3
"""Words of a run."""

FEWEST_WORDS = 12
"""Shorter passages are copies only if they are identical: one other word is much of them."""

MOST_COMPARED = 20_000
"""Characters of the longest passage that is compared by words. Longer ones are copies only if they are identical."""

TURNING = """
    no not never none without cannot neither nor unless except on off true false enabled disabled
    nicht kein keine keinen nie ohne non pas sans nunca sin
"""
NEGATIONS = frozenset(TURNING.split())
"""Words of which one more or fewer turns the meaning around. Numbers, and names with digits, count like them."""

MOST_PLACES = 20
"""Places of copies that a passage lists."""

_WORD = re.compile(r"\w+")
_SIGNED = re.compile(r"[<>=!~+-]{0,2}\w+")
_DIGIT = re.compile(r"\d")

Passage = TypeVar("Passage")
Score = TypeVar("Score", bound=float | None)


@dataclass(frozen=True)
class Wording:
    """What is compared of a passage: its text without case and layout, and its words."""

    text: str

    @cached_property
    def plain(self) -> str:
        return " ".join(unicodedata.normalize("NFKC", self.text).casefold().split())

    @cached_property
    def words(self) -> tuple[str, ...]:
        return tuple(_WORD.findall(self.plain))

    @cached_property
    def decisive(self) -> Counter[str]:
        """The words in which two passages that say the same cannot differ: numbers and negations."""
        # Numbers with their signs: -1 is not 1, and <3 is not >3.
        numbers = [word for word in _SIGNED.findall(self.plain) if _DIGIT.search(word)]
        return Counter([*numbers, *(word for word in self.words if word in NEGATIONS)])

    @cached_property
    def runs(self) -> frozenset[tuple[str, ...]]:
        return frozenset(zip(*(self.words[start:] for start in range(RUN)), strict=False))

    def same_as(self, other: "Wording") -> bool:
        """Whether one of the passages can stand for both."""
        if self.plain == other.plain:
            return True
        # Before the words are counted, which takes longer. So many words are hardly so much longer or shorter.
        shorter, longer = sorted((len(self.plain), len(other.plain)))
        if shorter < LENGTHS * longer:
            return False
        fewer, more = sorted((len(self.words), len(other.words)))
        if fewer < FEWEST_WORDS or fewer < ALIKE * more or max(len(self.text), len(other.text)) > MOST_COMPARED:
            return False
        if self.decisive != other.decisive:
            return False
        common = len(self.runs & other.runs)
        return common >= ALIKE * (len(self.runs) + len(other.runs) - common)


@dataclass(slots=True)
class Distinct(Generic[Passage]):
    """A passage, and the copies of it that came later."""

    passage: Passage
    wording: Wording
    copies: list[Passage] = field(default_factory=list)

    identical: list[Passage] = field(default_factory=list)
    """Those of the copies that differ in case and layout at most."""

    def outermost(self, place: Callable[[Passage], str | None]) -> Passage:
        """Of the passage and the identical ones, the one that is least deep in folders: most likely the original.

        `place` tells a passage's address, and `None` if it has none.
        """
        return min((self.passage, *self.identical), key=lambda one: _depth(place(one)))


def distinct(
    passages: Iterable[Passage], *, text: Callable[[Passage], str], most: int | None = None
) -> list[Distinct[Passage]]:
    """The passages that are no copies of earlier ones, in order, each with its copies.

    With `most`, only so many; later passages then only join them as copies.
    """
    found: list[Distinct[Passage]] = []
    for passage in passages:
        wording = Wording(text(passage))
        original = original_of(wording, found)
        if original is not None:
            original.copies.append(passage)
            if original.wording.plain == wording.plain:
                original.identical.append(passage)
        elif most is None or len(found) < most:
            found.append(Distinct(passage, wording))
    return found


def original_of(wording: Wording, among: Sequence[Distinct[Passage]]) -> Distinct[Passage] | None:
    """The one that a passage with this wording is a copy of."""
    return next((one for one in among if one.wording.same_as(wording)), None)


def with_places(one: Distinct[tuple[Document, Score]]) -> tuple[Document, Score]:
    """The document in the outermost of its places, which are their `doc_uri`, with the others as `also_in` beside it.

    It has the score of the passage that came first.
    """
    if not one.copies:
        return one.passage
    document, _ = one.outermost(lambda pair: pair[0].metadata.get("doc_uri"))
    places: list[str | None] = []
    for same, _ in (one.passage, *one.copies):
        places += [same.metadata.get("doc_uri"), *_also_in(same)]
    known = [uri for uri in dict.fromkeys(places) if uri and uri != document.metadata.get("doc_uri")]
    metadata = {**document.metadata, "also_in": known[:MOST_PLACES]} if known else document.metadata
    return Document(id=document.id, page_content=document.page_content, metadata=metadata), one.passage[1]


def _also_in(document: Document) -> Sequence[str]:
    """The places that an earlier search for copies has found. An index may have a column of that name, too."""
    places = document.metadata.get("also_in")
    return places if isinstance(places, list | tuple) else ()


def _depth(address: str | None) -> tuple[float, int, str]:
    if not address:
        return math.inf, 0, ""
    document = address.partition("#")[0]
    return document.count("/"), len(document), document

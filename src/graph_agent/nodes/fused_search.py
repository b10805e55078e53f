"""Several queries for one question, and one list of passages from what they find.

A planner shortens a question to a few words, and so loses what it was about. So the question itself is searched too,
its parts, and what it leans on. `evals/retrieval` measures what each of them is worth.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import ToolException

from graph_agent.copies import distinct, with_places
from graph_agent.errors import RetrievalFailed
from graph_agent.summaries import is_summary

Ranked = Sequence[tuple[Document, float | None]]

Failed = RetrievalFailed | ToolException

MOST_QUERY = 1_000
"""Characters of a query that is made of a question."""

MOST_PARTS = 3
"""Parts of a question that are searched by themselves."""

FEWEST_WORDS = 3
"""Words of a part that means something by itself."""

LONGEST_LEANING = 60
"""Characters of a question that may lean on the one before, such as "And on which port?" """

MORE_FOR_PARTS = 3
"""Passages that are shown in addition if the question has parts, which may be in several documents."""

FIRST_OF_PART = 2
"""Passages that each part of a question gets among those that are shown. What a part finds alone stands behind
everything that two queries find, and would be cut off."""

DEPTH = 2
"""Passages that each query is asked for, in place of one that is shown. With 3 and 5 no more was found."""

FIRST_PLACES = 5
"""How slowly the worth of a place falls: the first place is worth 1/6, the second 1/7. The smaller, the more the
first places of each query count. With 60, as usual for lists of thousands, they would count little."""

OF_PLANNER = 0.5
"""What a place in the planner's only search is worth, where one in a search for the question is worth 1.

On 96 questions for tuning, with what a small model leaves of them, the mean reciprocal rank is .73 with 1, .76 with .7
and .5, and .77 with .3. Larger planners write better queries, so their words keep half of their worth."""

FEWEST_OF_CALL = 2
"""Passages that each of several calls gets, if it finds so many."""

MOST_OF_DOCUMENT = 2
"""Passages of one document, as long as there are others. So a question about two documents finds both."""

ASKING = """
    how what when where which who whom whose why
    wie was wann wo welche welcher welches wer warum
    comment quel quelle quels quelles quand où qui pourquoi combien
    cómo cuál cuáles cuándo dónde quién cuánto cuántos cuántas qué
"""
"""Words that begin the second half of a question after an "and", also without a comma."""

_ENDS = re.compile(
    r"(?<=[.?!;])\s+|,\s+"
    # Chinese and Japanese have no space after them.
    r"|(?<=[\u3002\uff01\uff1f\u3001\u061f\u060c])\s*"
    rf"| (?=(?:and|or|und|oder|et|ou|y|o) (?:{'|'.join(ASKING.split())})\b)",
    re.IGNORECASE,
)
"""Ends of sentences and clauses."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to search for beside the planner's words."""

    whole: Sequence[str] = ()
    """The question; if it is short, together with the question before."""

    parts: Sequence[str] = ()
    """Its sentences and clauses."""


def asked_in(messages: Sequence[BaseMessage]) -> Asked:
    """What the last question says. Nothing if this search is not the first of its turn, which has searched it then."""
    place = max((at for at, one in enumerate(messages) if isinstance(one, HumanMessage)), default=None)
    if place is None or any(isinstance(one, ToolMessage) for one in messages[place:]):
        return Asked()
    question = " ".join(messages[place].text.split())[:MOST_QUERY]
    if not question:
        return Asked()
    before = next(
        (one for one in reversed(messages[:place]) if isinstance(one, HumanMessage) and not is_summary(one)), None
    )
    if before is None or len(question) > LONGEST_LEANING:
        return Asked([question], parts_of(question))
    return Asked([f"{' '.join(before.text.split())[:MOST_QUERY]} {question}"], parts_of(question))


def up_to_question(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """The messages up to the last question, without what its turn has found since."""
    return messages[: max((at for at, one in enumerate(messages, 1) if isinstance(one, HumanMessage)), default=0)]


def parts_of(question: str) -> list[str]:
    """The sentences and clauses of a question, if it has several that mean something by themselves."""
    parts = [part.strip() for part in _ENDS.split(question)]
    parts = [part for part in parts if part and is_meaningful(part)]
    return parts[:MOST_PARTS] if len(parts) > 1 else []


def is_meaningful(part: str) -> bool:
    # In Chinese and Japanese, which have no spaces, so many letters are about as much.
    return len(part.split()) >= FEWEST_WORDS or sum(letter >= "\u2e80" for letter in part) >= 3 * FEWEST_WORDS


def fused(found: Sequence[Ranked], *, of_first: float = 1.0) -> list[tuple[Document, float | None]]:
    """The passages of several lists, each best first, in one list: reciprocal rank fusion.

    Copies are left out. A passage has the best of its scores. The first two passages of each document come before the
    others. `of_first` is what a place in the first list is worth, where one in the others is worth 1.
    """
    worth: dict[str, float] = {}
    best: dict[str, tuple[Document, float | None]] = {}
    for number, ranked in enumerate(found):
        share = 1.0 if number else of_first
        for place, (document, score) in enumerate(ranked, start=1):
            key = passage_key(document)
            worth[key] = worth.get(key, 0.0) + share / (FIRST_PLACES + place)
            held = best.setdefault(key, (document, score))
            if score is not None and (held[1] is None or score > held[1]):
                best[key] = held[0], score
    order = sorted(best, key=lambda key: -worth[key])
    different = distinct((best[key] for key in order), text=lambda pair: pair[0].page_content)
    return spread([with_places(one) for one in different])


def fair_to_parts(ranked: Ranked, parts: Sequence[Ranked], count: int) -> list[tuple[Document, float | None]]:
    """The same passages, the first ones of each part among the first `count`, which keep their order."""
    keys = [passage_key(document) for document, _ in ranked]
    # Without those that are gone as copies of others.
    own = [[key for document, _ in part if (key := passage_key(document)) in keys][:FIRST_OF_PART] for part in parts]
    best = [one[place] for place in range(FIRST_OF_PART) for one in own if place < len(one)]
    firsts = set(list(dict.fromkeys(best))[:count])
    room = count - len(firsts)
    shown: list[tuple[Document, float | None]] = []
    rest: list[tuple[Document, float | None]] = []
    for key, pair in zip(keys, ranked, strict=True):
        if key not in firsts:
            room -= 1
        (shown if key in firsts or room >= 0 else rest).append(pair)
    return [*shown, *rest]


def shared(ranked: Sequence[Ranked | Failed], count: int) -> list[Ranked | Failed]:
    """The first passages of each list, `count` in all, and two at least of each. None is in two lists."""
    lists = sum(not isinstance(one, Exception) for one in ranked)
    share = max(FEWEST_OF_CALL, math.ceil(count / lists)) if lists else 0
    taken: set[str] = set()
    shares: list[Ranked | Failed] = []
    for one in ranked:
        if isinstance(one, Exception):
            shares.append(one)
            continue
        # If all is known already, say so rather than that nothing was found.
        own = [pair for pair in one if passage_key(pair[0]) not in taken][:share] or list(one[:1])
        taken.update(passage_key(document) for document, _ in own)
        shares.append(own)
    return shares


def spread(ranked: Ranked) -> list[tuple[Document, float | None]]:
    """The same passages, those first that are among the first `MOST_OF_DOCUMENT` of their documents."""
    given: dict[str, int] = {}
    first: list[tuple[Document, float | None]] = []
    rest: list[tuple[Document, float | None]] = []
    for one in ranked:
        document = document_key(one[0])
        given[document] = given.get(document, 0) + 1
        (first if given[document] <= MOST_OF_DOCUMENT else rest).append(one)
    return [*first, *rest]


def passage_key(document: Document) -> str:
    """What identifies a passage. Without any id, the beginning of its text."""
    return str(document.metadata.get("chunk_id") or document.id or document.page_content[:80])


def document_key(document: Document) -> str:
    """The document of a passage, without the section in it."""
    return str(document.metadata.get("doc_uri") or passage_key(document)).partition("#")[0]

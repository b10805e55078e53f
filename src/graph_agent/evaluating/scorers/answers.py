"""Scores what the answer says: the facts, or that the documents do not answer the question."""

import re
from collections.abc import Mapping, Sequence

from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import Group, Row

DECLINED = re.compile(
    r"\b(?:documents?|documentation|docs|passages?)\b[^.?!]{0,40}\b(?:do|does|did)(?: not|n't) "
    r"(?:answer|say|mention|state|contain|provide|specify|cover|tell|include|give)"
    r"|\b(?:did not|didn't) find (?:this|that|it|an answer|anything|any|the answer)\b"
    r"|\b(?:do not|don't) know\b|\b(?:cannot|can't|could not|couldn't) (?:answer|find)\b"
    r"|\b(?:is|are) not (?:answered|mentioned|stated|specified|covered) (?:by|in) the ",
    re.I,
)
AND_YET = re.compile(r"\b(?:but|however)\b", re.I)
LONGEST_DECLINE = 200
"""Most characters of an answer that declines. A longer one does answer, even if it says that something is not known."""

_PASSAGE = re.compile(r"\[\d{1,3}(?:\s*,\s*\d{1,3})*\]")
_NOT_IN_A_NUMBER = re.compile(r"(?<!\d)(?<!\d[.,])")
_NUMBER_ENDS = re.compile(r"(?!\d|,\d|\.(?!0+(?!\d))\d)")
_WORD_BEGINS, _WORD_ENDS = re.compile(r"(?<!\w)"), re.compile(r"(?!\w)")
_ANYWHERE = re.compile("")
SHORT_WORD = 3
"""Most letters of a word that must match as a whole word, because it is part of many other words."""


def facts(row: Row, record: Record) -> Mapping[str, float | None]:
    """`facts_covered`: the share of the facts that are in the answer, in one of their wordings, in any case.

    Numbers of passages, such as [1], do not count as facts.
    """
    wanted = row.expectations.facts
    if wanted is None:
        return {"facts_covered": None}
    return {"facts_covered": (len(wanted) - len(lacking(row, record))) / len(wanted)}


def lacking(row: Row, record: Record) -> list[Group]:
    """Return the facts that are not in the answer, each with its wordings."""
    said = _PASSAGE.sub("", record.last.answer) if is_answered(row, record) else ""
    return [group for group in row.expectations.facts or () if not any(stands_in(one, said) for one in group)]


def stands_in(fact: str, text: str) -> bool:
    """Return whether a text contains the fact. "300" does not contain 30, and "notice" does not contain "no".

    Longer words may be parts of other words. A whole number may be followed by a decimal point and zeros. A decimal
    number may have more digits.
    """
    fact, text = " ".join(fact.lower().split()), " ".join(text.lower().split())
    before = after = _ANYWHERE
    if fact[:1].isdigit():
        before = _NOT_IN_A_NUMBER
    if fact.isdigit():
        after = _NUMBER_ENDS
    elif fact.isalpha() and len(fact) <= SHORT_WORD:
        before, after = _WORD_BEGINS, _WORD_ENDS
    start = text.find(fact)
    while start >= 0:
        if before.match(text, start) and after.match(text, start + len(fact)):
            return True
        start = text.find(fact, start + 1)
    return False


def declines(row: Row, record: Record) -> Mapping[str, float | None]:
    """`declined_when_must`: the answer declines. `answered_when_must`: it does not, and is not empty."""
    must, text = row.expectations.must_decline, record.last.answer
    says_no = declined(text, row.expectations.declines_with)
    return {
        "declined_when_must": None if must is not True else float(is_answered(row, record) and says_no),
        "answered_when_must": None
        if must is not False
        else float(is_answered(row, record) and bool(text.strip()) and not says_no),
    }


def declined(text: str, wordings: Sequence[str] = ()) -> bool:
    """Return whether the answer declines: it says that the documents do not answer the question, and nothing else.

    It uses the usual English phrases or one of `wordings`, in any case. Apart from the phrase the answer is short, and
    no "but" or "however" follows.
    """
    text = _plain(text)
    for wording in map(_plain, wordings):
        place = text.find(wording)
        if place >= 0 and _is_all(text, place + len(wording), LONGEST_DECLINE + len(wording)):
            return True
    found = DECLINED.search(text)
    return found is not None and _is_all(text, found.end(), LONGEST_DECLINE)


def _is_all(text: str, end: int, longest: int) -> bool:
    return len(text) < longest and not AND_YET.search(text, end)


def _plain(text: str) -> str:
    """Return the text in lower case, with plain apostrophes and single spaces."""
    return " ".join(text.replace("\u2019", "'").casefold().split())


def is_answered(row: Row, record: Record) -> bool:
    """Return whether the conversation reached its last turn."""
    return len(record.turns) == 1 + len(row.turns)

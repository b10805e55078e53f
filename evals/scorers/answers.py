"""What the answer says: the facts, or that the documents do not tell."""

import re
from collections.abc import Mapping

from evals.records import Record
from evals.rows import Row

DECLINED = re.compile(
    r"documents? (?:do|does) not (?:answer|say|mention|state)|(?:do not|don't) know|cannot answer|not answered", re.I
)
LONGEST_DECLINE = 200
"""Characters; a longer answer that also says that something is not known does answer."""


def facts(row: Row, record: Record) -> Mapping[str, float | None]:
    """`facts_covered`: the share of the facts that stand in the answer, in one of their wordings, in any case."""
    wanted = row.expectations.facts
    if wanted is None:
        return {"facts_covered": None}
    text = " ".join(record.last.answer.lower().split()) if is_answered(row, record) else ""
    return {"facts_covered": sum(any(one.lower() in text for one in group) for group in wanted) / len(wanted)}


def declines(row: Row, record: Record) -> Mapping[str, float | None]:
    """`declined_when_must`, and `answered_when_must`: something else than a refusal was said."""
    must = row.expectations.must_decline
    return {
        "declined_when_must": None if must is not True else float(declined(record.last.answer)),
        "answered_when_must": None
        if must is not False
        else float(is_answered(row, record) and bool(record.last.answer.strip()) and not declined(record.last.answer)),
    }


def declined(text: str) -> bool:
    """Whether the answer says that the documents do not tell."""
    return bool(DECLINED.search(text)) and len(text) < LONGEST_DECLINE


def is_answered(row: Row, record: Record) -> bool:
    """Whether the conversation came to its last turn."""
    return len(record.turns) == 1 + len(row.turns)

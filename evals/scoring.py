"""One question and what the agent did with it -> figures, each 0 or 1, or `None` if not asked. Pure functions."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DECLINED = re.compile(
    r"documents? (?:do|does) not (?:answer|say|mention|state)|(?:do not|don't) know|cannot answer|not answered", re.I
)
_MARKER = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_LISTED = re.compile(r"^\[(\d{1,3})\] ", re.MULTILINE)


@dataclass(slots=True)
class Answer:
    """What came over the wire for one question."""

    text: str = ""
    first_seconds: float | None = None
    seconds: float = 0.0
    status: str = "none"
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    cited: list[str] = field(default_factory=list)
    sources: list[Mapping[str, Any]] = field(default_factory=list)


def declined(answer: Answer) -> bool:
    """Whether the answer says that the documents do not tell."""
    return bool(DECLINED.search(answer.text)) and len(answer.text) < 200


def facts_right(question: Mapping[str, Any], answer: Answer) -> bool:
    """Whether every fact is in the answer, in one of its accepted wordings."""
    text = answer.text.lower()
    return all(any(wording.lower() in text for wording in fact) for fact in question["facts"])


def retrieved(question: Mapping[str, Any], answer: Answer, *, most: int = 5) -> bool:
    """Whether one of the first `most` passages is from a document that answers the question."""
    files = [str(source["doc_uri"]).split("#")[0] for source in answer.sources[:most]]
    return any(file in question["doc_uris"] for file in files)


def tool_right(question: Mapping[str, Any], answer: Answer) -> bool:
    """Whether the expected tool was called with the expected arguments; lists are alternatives."""
    wanted = question["tool"]
    return any(
        name == wanted["name"] and all(_fits(given.get(key), value) for key, value in wanted["arguments"].items())
        for name, given in answer.calls
    )


def foreign_citations(answer: Answer) -> list[str]:
    """Citations of anything that was not retrieved: by address, and by the number in the text."""
    known = {str(source["doc_uri"]) for source in answer.sources}
    numbers = {number for output in answer.outputs for number in _LISTED.findall(output)}
    written = {number for group in _MARKER.findall(answer.text) for number in re.findall(r"\d+", group)}
    return [url for url in answer.cited if url not in known] + sorted(written - numbers)


def _fits(given: Any, wanted: Any) -> bool:
    alternatives: Sequence[Any] = wanted if isinstance(wanted, list) else [wanted]
    return any(_same(given, one) for one in alternatives)


def _same(given: Any, wanted: Any) -> bool:
    try:
        return abs(float(given) - float(wanted)) < 1e-6
    except (TypeError, ValueError):
        return re.sub(r"\s", "", str(given)).lower() == re.sub(r"\s", "", str(wanted)).lower()


def scored(question: Mapping[str, Any], answer: Answer) -> dict[str, bool | None]:
    """Every figure of one question."""
    kind = question["kind"]
    docs = kind == "docs"
    return {
        "retrieval_at_5": retrieved(question, answer) if docs else None,
        "answer_right": facts_right(question, answer) and not declined(answer) if docs else None,
        "wrongly_declined": declined(answer) if docs else None,
        "tool_right": tool_right(question, answer) if kind == "tools" else None,
        "tool_answer_right": facts_right(question, answer) if kind == "tools" else None,
        "declined": declined(answer) if kind == "unanswerable" else None,
        "cited": bool(answer.cited) if docs else None,
        "foreign_citation": bool(foreign_citations(answer)),
        "ended_well": answer.status == "completed",
    }

"""What the scripted model understands of questions and passages: words and numbers, and nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"[a-z0-9]+")
_NUMBERED = re.compile(r"^\[(\d{1,3})\] ", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n{2,}|\n(?=[|\-#])")
_EXPRESSION = re.compile(r"[(\d][\d\s().,]*+(?P<more>(?:[-+*/^%]\s*+[(\d][\d\s().,]*+)*+)")
"""A number, or an arithmetic expression if `more` is not empty."""
_NUMBER = r"(?<!\d)(\d++(?:\.\d++)?)"
_UNITS = re.compile(rf"{_NUMBER} (?:degrees )?([a-z/]+) (?:in|to|into) (?:degrees )?([a-z/]+)")
_HOW_MANY = re.compile(rf"how many ([a-z]+) (?:are|is) {_NUMBER} ([a-z]+)")
_WHEN = re.compile(r"\b(?:what time|which day|what day|current time|today's date)\b")
_SHARE = re.compile(rf"{_NUMBER} (?:percent|%) of {_NUMBER}")
_ROOT = re.compile(rf"square root of {_NUMBER}")

STOP = frozenset(
    _WORD.findall(
        "a about all an and any are as at be by can could did do does for from get give graph agent has have how i if "
        "in into is it its me much my named need of on one or please project say set should so tell that the their "
        "them then there these this those to use used was what when where which while who why will with would you your"
    )
)

ZONES = {
    "berlin": "Europe/Berlin",
    "chicago": "America/Chicago",
    "london": "Europe/London",
    "paris": "Europe/Paris",
    "tokyo": "Asia/Tokyo",
    "utc": "UTC",
}

Wish = tuple[str, dict[str, Any]]
"""The name of a parameter, by which the tool is found, and the arguments of the call."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage in the result of a search."""

    number: str
    text: str


def stems(text: str) -> frozenset[str]:
    """Return the meaningful words, cut to their first five letters."""
    return frozenset(word[:5] for word in _WORD.findall(text.lower().replace("_", " ")) if word not in STOP)


def passages(text: str) -> list[Passage]:
    """Return the passages in the result of a search."""
    pieces = _NUMBERED.split(text)
    return [Passage(number, text.strip()) for number, text in zip(pieces[1::2], pieces[2::2], strict=True)]


def support(question: str, found: Sequence[Passage]) -> float:
    """Return the largest share of the question's words in one passage, from 0 to 1; 1 if the question has no words."""
    wanted = stems(question)
    if not wanted:
        return 1.0
    return max((len(wanted & stems(passage.text)) / len(wanted) for passage in found), default=0.0)


def quoted(question: str, found: Sequence[Passage]) -> str:
    """Return the sentence with most of the question's words, its neighbors, and the number of its passage."""
    wanted = stems(question)
    best, text = (-1.0, 0.0), ""
    for rank, passage in enumerate(found, 1):
        sentences = [one.strip() for one in _SENTENCE.split(passage.text) if one.strip()]
        whole = len(wanted & stems(passage.text))
        for place, sentence in enumerate(sentences):
            score = (len(wanted & stems(sentence)) + 0.5 * whole + 1 / rank, -len(sentence) / 1000)
            if score > best:
                around = " ".join(sentences[max(0, place - 1) : place + 2])
                best, text = score, f"{around} [{passage.number}]"
    return text


def wish(question: str) -> Wish | None:
    """Return the tool call that a question asks for, if it asks for one."""
    text = question.lower()
    return _units(text) or _time(text) or _arithmetic(text)


def _units(text: str) -> Wish | None:
    if match := _UNITS.search(text):
        value, origin, target = match.groups()
    elif match := _HOW_MANY.search(text):
        target, value, origin = match.groups()
    else:
        return None
    return "from_unit", {"value": float(value), "from_unit": origin, "to_unit": target}


def _time(text: str) -> Wish | None:
    if not _WHEN.search(text):
        return None
    place = next((zone for name, zone in ZONES.items() if name in text), "UTC")
    return "timezone", {"timezone": place}


def _arithmetic(text: str) -> Wish | None:
    if match := _SHARE.search(text):
        return "expression", {"expression": f"{match[1]} / 100 * {match[2]}"}
    if match := _ROOT.search(text):
        return "expression", {"expression": f"sqrt({match[1]})"}
    written = next((match[0] for match in _EXPRESSION.finditer(text) if match["more"]), None)
    return ("expression", {"expression": written.strip(" .,")}) if written else None

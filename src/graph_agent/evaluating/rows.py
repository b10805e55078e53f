"""The rows of a dataset: what to ask, and what to expect of the answer. `docs/evals.md` describes the format."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from graph_agent.evaluating.errors import BadDataset

Group = tuple[str, ...]
"""Alternatives. One of them is enough."""

HALVES = ("tuning", "held_out")

Stored = Literal["conversation", "previous_response_id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCall:
    """A tool call that must be made. Only the arguments named here count."""

    name: str
    arguments: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """The accepted values of each argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What is expected of the last answer. Only the fields that are given are scored."""

    facts: tuple[Group, ...] | None = None
    """Facts that the answer must contain, each in one of its wordings."""

    documents: tuple[Group, ...] | None = None
    """Documents that must be retrieved, each under one of its addresses."""

    tool_calls: tuple[ExpectedCall, ...] | None = None
    """The tool calls that must be made in any order, and no others. If it is empty, no call may be made."""

    must_decline: bool | None = None
    """Whether the answer must say that the documents do not answer the question. If false, it must not say so."""

    declines_with: tuple[str, ...] = ()
    """Phrases that count as declining, in addition to the usual English ones."""

    guidelines: tuple[str, ...] = ()
    """Guidelines that the answer must follow, for judges."""

    forbidden: tuple[str, ...] = ()
    """Texts that no answer of the row may contain."""

    custom: Mapping[str, Any] = field(default_factory=dict)
    """Values for the project's own scorers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a dataset."""

    id: str
    input: tuple[Mapping[str, Any], ...]
    """The items of the first request, in the format of the Responses API."""

    turns: tuple[str, ...] = ()
    """The user's messages after the first answer, one for each turn. Each request resends the history, if `stored` is
    `None`."""

    stored: Stored | None = None
    """How later turns name what they continue, if the service stores the conversation."""

    after: Mapping[int, int] = field(default_factory=dict)
    """Turns that follow an earlier turn than the one before them, by their numbers. The first turn is number 1."""

    decisions: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Turns that answer all approvals of the turn that they follow, by their numbers: the fields of each answer."""

    expectations: Expectations
    tags: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    """A digest of the whole line. It shows whether a row has changed since it was scored."""

    @property
    def asks(self) -> str:
        """A digest of the questions. Rows that ask the same have the same digest, whatever they expect."""
        stored = [self.stored, sorted(self.after.items()), sorted(self.decisions)] if self.stored else []
        return digest_of([self.input, self.turns, *stored])

    @property
    def questions(self) -> tuple[str, ...]:
        """The user's message in each turn."""
        return (_text(self.input[-1]), *self.turns)

    @property
    def question(self) -> str:
        """The user's last message."""
        return self.questions[-1]

    def declining_with(self, wordings: tuple[str, ...]) -> Self:
        """Return a copy of the row for which these phrases count as declining too."""
        known = replace(self.expectations, declines_with=(*self.expectations.declines_with, *wordings))
        return replace(self, expectations=known)


def digest_of(value: Any) -> str:
    """Return a short digest of a JSON value. It does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def dataset_digest(rows: Sequence[Row]) -> str:
    """Return a digest of all rows. It does not depend on their order."""
    return digest_of(sorted([row.id, row.digest] for row in rows))


def chosen(
    rows: Sequence[Row], *, count: int | None = None, half: Literal["tuning", "held_out"] | None = None
) -> list[Row]:
    """Choose `count` rows of one half. It always chooses the same rows, and more of rare kinds than their share.

    Raises:
        BadDataset: there is no row of that half.
    """
    rows = [row for row in rows if half is None or row.tags.get("half") == half]
    if not rows:
        raise BadDataset(f"no row of the dataset has the tag half={half}; omit --half", param="half")
    if count is None or count >= len(rows):
        return rows
    kinds: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest()):
        kinds.setdefault(row.tags.get("kind", ""), []).append(row)
    # Kinds get rows by the square root of their size. By their plain share, rare kinds would have too few rows to be
    # meaningful. Sorting by a hash of the id makes the choice independent of the order in the file.
    places = {
        row.id: (place / math.sqrt(len(members)), kind)
        for kind, members in sorted(kinds.items())
        for place, row in enumerate(members)
    }
    taken = set(sorted(places, key=lambda name: places[name])[:count])
    return [row for row in rows if row.id in taken]


def _text(item: Mapping[str, Any]) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))

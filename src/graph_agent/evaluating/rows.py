"""The rows of a dataset: what is asked, and what is expected of the answer. `docs/evals.md` has the format."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from graph_agent.evaluating.errors import BadDataset

Group = tuple[str, ...]
"""Alternatives, one of which is enough."""

HALVES = ("tuning", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCall:
    """A tool call that must be made; only the arguments named here are looked at."""

    name: str
    arguments: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Per argument the values that are right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What is expected of the last answer. What is not given is not judged."""

    facts: tuple[Group, ...] | None = None
    """Each must be in the answer, in one of its wordings."""

    documents: tuple[Group, ...] | None = None
    """Each must be retrieved, by one of its files."""

    tool_calls: tuple[ExpectedCall, ...] | None = None
    """Just these must be made, in any order; an empty one means none."""

    must_decline: bool | None = None
    """Whether the answer must say that the documents do not tell; false: it must not."""

    declines_with: tuple[str, ...] = ()
    """Wordings that are a refusal too, besides the usual English ones."""

    guidelines: tuple[str, ...] = ()
    """For judges: sentences the answer must obey."""

    forbidden: tuple[str, ...] = ()
    """Texts that no answer of the row may contain."""

    custom: Mapping[str, Any] = field(default_factory=dict)
    """Whatever the project's own scorers expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a dataset."""

    id: str
    input: tuple[Mapping[str, Any], ...]
    """What is sent first, as Responses items."""

    turns: tuple[str, ...] = ()
    """What the user says after the first answer, one turn each; the history is resent with each."""

    expectations: Expectations
    tags: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    """Of the row's whole content: tells a changed row from the one that was judged before."""

    @property
    def asks(self) -> str:
        """The same for rows that ask the same, whatever they expect."""
        return digest_of([self.input, self.turns])

    @property
    def questions(self) -> tuple[str, ...]:
        """What the user said in each turn."""
        return (_text(self.input[-1]), *self.turns)

    @property
    def question(self) -> str:
        """What the user said last."""
        return self.questions[-1]

    def declining_with(self, wordings: tuple[str, ...]) -> Self:
        """The same row, to which these wordings are a refusal too."""
        known = replace(self.expectations, declines_with=(*self.expectations.declines_with, *wordings))
        return replace(self, expectations=known)


def digest_of(value: Any) -> str:
    """A short hash of a JSON value, the same for the same content."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def dataset_digest(rows: Sequence[Row]) -> str:
    """Of all rows, whatever their order."""
    return digest_of(sorted([row.id, row.digest] for row in rows))


def chosen(
    rows: Sequence[Row], *, count: int | None = None, half: Literal["tuning", "held_out"] | None = None
) -> list[Row]:
    """The rows of one half, and of these `count`: always the same ones, rare kinds beyond their share.

    Raises:
        BadDataset: there are none.
    """
    rows = [row for row in rows if half is None or row.tags.get("half") == half]
    if not rows:
        raise BadDataset(f"no row of the dataset has the tag half={half}; leave --half out", param="half")
    if count is None or count >= len(rows):
        return rows
    kinds: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest()):
        kinds.setdefault(row.tags.get("kind", ""), []).append(row)
    # By the square root of their number: by their plain share, kinds of few rows would prove nothing in a sample.
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

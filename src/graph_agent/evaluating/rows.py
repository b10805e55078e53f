"""A dataset's rows: what is asked, and what is expected of the answer. See `docs/evals.md` for the format."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
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
    """What must not stand in any answer of the row."""


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


def read_rows(path: Path) -> list[Row]:
    """Every row of a JSONL file.

    Raises:
        BadDataset: there is no such file, or a line of it is no row; the message names line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadDataset(f"{path} cannot be read ({type(error).__name__}); give --dataset a JSONL file") from None
    rows: list[Row] = []
    seen: dict[str, int] = {}
    asked: dict[str, str] = {}
    # Not splitlines: a text may hold the line separators of Unicode.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row = read_row(line, f"{path}:{number}")
        if row.id in seen:
            raise BadDataset(f"{path}:{number}: id {row.id!r} is that of line {seen[row.id]} too", param="id")
        if (same := asked.get(row.asks)) is not None:
            # A question in both halves would not be set aside in either, and MLflow's datasets hold each but once.
            raise BadDataset(f"{path}:{number}: {row.id!r} asks what {same!r} asks too", param="inputs")
        seen[row.id], asked[row.asks] = number, row.id
        rows.append(row)
    if not rows:
        raise BadDataset(f"{path} holds no row")
    return rows


def read_row(line: str, where: str) -> Row:
    """One line.

    Raises:
        BadDataset: it is no row; the message names the field.
    """
    try:
        given = json.loads(line)
    except ValueError as error:
        raise BadDataset(f"{where}: no JSON ({getattr(error, 'msg', 'unreadable')})") from None
    reader = _Reader(where)
    row = reader.object(given, "", {"id", "inputs", "turns", "expectations", "tags"})
    inputs = reader.object(row.get("inputs"), "inputs", {"input"})
    expected = reader.object(
        row.get("expectations", {}),
        "expectations",
        {"facts", "documents", "tool_calls", "must_decline", "declines_with", "guidelines", "forbidden"},
    )
    return Row(
        id=reader.text(row.get("id"), "id"),
        input=tuple(reader.items(inputs.get("input"), "inputs.input")),
        turns=tuple(reader.texts(row.get("turns", []), "turns")),
        expectations=Expectations(
            facts=reader.groups(expected, "facts"),
            documents=reader.groups(expected, "documents"),
            tool_calls=reader.calls(expected),
            must_decline=reader.flag(expected, "must_decline"),
            declines_with=tuple(reader.texts(expected.get("declines_with", []), "expectations.declines_with")),
            guidelines=tuple(reader.texts(expected.get("guidelines", []), "expectations.guidelines")),
            forbidden=tuple(reader.texts(expected.get("forbidden", []), "expectations.forbidden")),
        ),
        tags=dict(reader.tags(row.get("tags", {}))),
        digest=digest_of(given),
    )


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


class _Reader:
    """Checks as it reads; `where` begins every message."""

    def __init__(self, where: str) -> None:
        self._where = where

    def object(self, value: Any, name: str, known: set[str]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(name or "the row", "must be an object")
        if unknown := sorted(set(value) - known):
            place = f"{name}.{unknown[0]}" if name else unknown[0]
            raise self._wrong(place, f"is no field; known are {', '.join(sorted(known))}")
        return value

    def text(self, value: Any, name: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(name, "must be a text that is not empty")
        return value

    def texts(self, value: Any, name: str) -> Iterator[str]:
        if not isinstance(value, list):
            raise self._wrong(name, "must be a list of texts")
        for place, one in enumerate(value):
            yield self.text(one, f"{name}[{place}]")

    def items(self, value: Any, name: str) -> Iterator[Mapping[str, Any]]:
        if not isinstance(value, list) or not value:
            raise self._wrong(name, "must be a list of Responses items, such as a user's message")
        for place, one in enumerate(value):
            if not isinstance(one, dict) or not ({"role", "content"} <= set(one) or isinstance(one.get("type"), str)):
                raise self._wrong(f"{name}[{place}]", "must have role and content, or a type")
            yield one

    def groups(self, expected: Mapping[str, Any], field_name: str) -> tuple[Group, ...] | None:
        if field_name not in expected:
            return None
        name, value = f"expectations.{field_name}", expected[field_name]
        if not isinstance(value, list) or not value:
            raise self._wrong(name, "must be a list that is not empty; leave it out to expect nothing")
        return tuple(self._group(one, f"{name}[{place}]") for place, one in enumerate(value))

    def _group(self, value: Any, name: str) -> Group:
        group = tuple(self.texts([value] if isinstance(value, str) else value, name))
        if not group:
            raise self._wrong(name, "must name at least one alternative")
        return group

    def calls(self, expected: Mapping[str, Any]) -> tuple[ExpectedCall, ...] | None:
        if "tool_calls" not in expected:
            return None
        name, value = "expectations.tool_calls", expected["tool_calls"]
        if not isinstance(value, list):
            raise self._wrong(name, "must be a list; an empty one expects no call")
        calls = []
        for place, one in enumerate(value):
            call = self.object(one, f"{name}[{place}]", {"name", "arguments"})
            arguments = call.get("arguments", {})
            if not isinstance(arguments, dict):
                raise self._wrong(f"{name}[{place}].arguments", "must be an object")
            values = {key: tuple(one) if isinstance(one, list) else (one,) for key, one in arguments.items()}
            if empty := [key for key, one in values.items() if not one]:
                raise self._wrong(f"{name}[{place}].arguments.{empty[0]}", "must name at least one alternative")
            calls.append(ExpectedCall(name=self.text(call.get("name"), f"{name}[{place}].name"), arguments=values))
        return tuple(calls)

    def flag(self, expected: Mapping[str, Any], field_name: str) -> bool | None:
        value = expected.get(field_name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(f"expectations.{field_name}", "must be true or false")
        return value

    def tags(self, value: Any) -> Iterator[tuple[str, str]]:
        if not isinstance(value, dict):
            raise self._wrong("tags", "must be an object")
        for key, one in value.items():
            yield key, self.text(one, f"tags.{key}")
        if value.get("half") not in (None, *HALVES):
            raise self._wrong("tags.half", f"must be one of {', '.join(HALVES)}")

    def _wrong(self, name: str, what: str) -> BadDataset:
        return BadDataset(f"{self._where}: {name} {what}", param=name)

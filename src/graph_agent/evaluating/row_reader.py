"""Reads a dataset: JSON lines to rows. Every error names the file, the line and the field."""

import json
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, get_args

from graph_agent.evaluating.errors import BadDataset
from graph_agent.evaluating.rows import HALVES, Expectations, ExpectedCall, Group, Row, Stored, digest_of

EXPECTATIONS = frozenset(
    {"facts", "documents", "tool_calls", "must_decline", "declines_with", "guidelines", "forbidden", "custom"}
)

DECISION = frozenset({"approve", "reason", "arguments", "output"})
"""Fields of the answer to an approval."""


def read_rows(path: Path) -> list[Row]:
    """Read every row of a JSONL file.

    Raises:
        BadDataset: there is no such file, or a line of it is not a row. The message names the line and the field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadDataset(f"{path} cannot be read ({type(error).__name__}); give --dataset a JSONL file") from None
    rows: list[Row] = []
    seen: dict[str, int] = {}
    asked: dict[str, str] = {}
    # Not `splitlines`, because a text may contain Unicode line separators.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row = read_row(line, f"{path}:{number}")
        if row.id in seen:
            raise BadDataset(f"{path}:{number}: line {seen[row.id]} already has the id {row.id!r}", param="id")
        if (same := asked.get(row.asks)) is not None:
            # A question in both halves would not be held out, and MLflow's datasets store each question once.
            raise BadDataset(f"{path}:{number}: {row.id!r} asks the same as {same!r}", param="inputs")
        seen[row.id], asked[row.asks] = number, row.id
        rows.append(row)
    if not rows:
        raise BadDataset(f"{path} has no rows; write one JSON object on each line")
    return rows


def read_row(line: str, where: str) -> Row:
    """Parse one line as a row. Error messages start with `where`.

    Raises:
        BadDataset: the line is not a row. The message names the field.
    """
    try:
        given = json.loads(line)
    except ValueError as error:
        raise BadDataset(f"{where}: not JSON ({getattr(error, 'msg', 'unreadable')})") from None
    reader = _Reader(where)
    row = reader.object(given, "", {"id", "inputs", "turns", "stored", "expectations", "tags"})
    inputs = reader.object(row.get("inputs"), "inputs", {"input"})
    expected = reader.object(
        row.get("expectations", {}),
        "expectations",
        EXPECTATIONS,
    )
    return Row(
        id=reader.text(row.get("id"), "id"),
        input=tuple(reader.items(inputs.get("input"), "inputs.input")),
        **reader.turns(row),
        expectations=Expectations(
            facts=reader.groups(expected, "facts"),
            documents=reader.groups(expected, "documents"),
            tool_calls=reader.calls(expected),
            must_decline=reader.flag(expected, "must_decline"),
            declines_with=tuple(reader.texts(expected.get("declines_with", []), "expectations.declines_with")),
            guidelines=tuple(reader.texts(expected.get("guidelines", []), "expectations.guidelines")),
            forbidden=tuple(reader.texts(expected.get("forbidden", []), "expectations.forbidden")),
            custom=reader.free(expected.get("custom", {}), "expectations.custom"),
        ),
        tags=dict(reader.tags(row.get("tags", {}))),
        digest=digest_of(given),
    )


class _Reader:
    """Checks values while reading them. Every error message starts with `where`."""

    def __init__(self, where: str) -> None:
        self._where = where

    def free(self, value: Any, name: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(name, "must be an object")
        given: Mapping[str, Any] = value
        return given

    def object(self, value: Any, name: str, known: Set[str]) -> Mapping[str, Any]:
        given = self.free(value, name or "the row")
        # A misspelled field would otherwise be an expectation that is never checked.
        if unknown := sorted(set(given) - known):
            place = f"{name}.{unknown[0]}" if name else unknown[0]
            raise self._wrong(place, f"is not a field; the fields are {', '.join(sorted(known))}")
        return given

    def text(self, value: Any, name: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(name, "must be a non-empty string")
        return value

    def texts(self, value: Any, name: str) -> Iterator[str]:
        if not isinstance(value, list):
            raise self._wrong(name, "must be a list of strings")
        for place, one in enumerate(value):
            yield self.text(one, f"{name}[{place}]")

    def turns(self, row: Mapping[str, Any]) -> dict[str, Any]:
        stored, given = row.get("stored"), row.get("turns", [])
        if stored is not None and stored not in get_args(Stored):
            raise self._wrong("stored", f"must be one of {', '.join(get_args(Stored))}")
        if not isinstance(given, list):
            raise self._wrong("turns", "must be a list of strings, or of objects with says or approve")
        says: list[str] = []
        after: dict[int, int] = {}
        decisions: dict[int, Mapping[str, Any]] = {}
        # The row's input is turn 1.
        for number, one in enumerate(given, 2):
            name = f"turns[{number - 2}]"
            if isinstance(one, dict):
                turn = self.object(one, name, DECISION | {"after"} if "approve" in one else {"says", "after"})
                if stored is None:
                    raise self._wrong(name, "must be a string; give stored for a turn that forks or approves")
                if "after" in turn:
                    earlier = turn["after"]
                    if type(earlier) is not int or not 1 <= earlier < number:
                        raise self._wrong(f"{name}.after", "must be the number of an earlier turn; the first one is 1")
                    after[number] = earlier
                if "approve" in turn:
                    decided = turn["approve"]
                    if not isinstance(decided, bool):
                        raise self._wrong(f"{name}.approve", "must be true or false")
                    decisions[number] = {key: value for key, value in turn.items() if key != "after"}
                    says.append("Approved." if decided else "Rejected.")
                else:
                    says.append(self.text(turn.get("says"), f"{name}.says"))
            else:
                says.append(self.text(one, name))
        return {"turns": tuple(says), "stored": stored, "after": after, "decisions": decisions}

    def items(self, value: Any, name: str) -> Iterator[Mapping[str, Any]]:
        if not isinstance(value, list) or not value:
            raise self._wrong(name, "must be a non-empty list of Responses items, such as a user's message")
        for place, one in enumerate(value):
            if not isinstance(one, dict) or not ({"role", "content"} <= set(one) or isinstance(one.get("type"), str)):
                raise self._wrong(f"{name}[{place}]", "must have role and content, or a type")
            yield one

    def groups(self, expected: Mapping[str, Any], field_name: str) -> tuple[Group, ...] | None:
        if field_name not in expected:
            return None
        name, value = f"expectations.{field_name}", expected[field_name]
        if not isinstance(value, list) or not value:
            raise self._wrong(name, "must be a non-empty list; leave it out to expect nothing")
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
        # Only true and false: Python would also accept 1 and 0 as booleans.
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

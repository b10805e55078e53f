"""The scores of an evaluation: the figures of every row, and the metrics over all rows and over each value of a tag."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from graph_agent.evaluating.metrics import measured, metric
from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import Row
from graph_agent.evaluating.scorers import Scorer

VERSION = 1


@dataclass(slots=True, kw_only=True)
class RowScore:
    """The figures of one row."""

    digest: str
    tags: Mapping[str, str]
    values: dict[str, float | None] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """Scorers and judges that failed, with the type of the exception. Such a row makes the gate fail."""

    notes: dict[str, str] = field(default_factory=dict)
    """Figures for which no judge was asked, with the reason."""

    trace_ids: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Scores:
    """The scores of one evaluation. `json` is the content of `scores.json`, which `docs/evals.md` describes."""

    run: dict[str, Any]
    rows: dict[str, RowScore]
    missing: list[str] = field(default_factory=list)
    """Rows that should have been asked and have no record."""

    extra: list[str] = field(default_factory=list)
    """Records whose row is not in the dataset."""

    conversations: list[dict[str, Any]] = field(default_factory=list)
    """Simulated conversations: `goal`, `row`, `turns`, `values`, `errors`, `trace_ids`. Only errors fail the gate."""

    def metrics(self, ids: Sequence[str] | None = None) -> dict[str, tuple[float, int]]:
        """Return value and number of rows of each metric, over all rows or over the rows `ids`."""
        return measured([row.values for name, row in self.rows.items() if ids is None or name in ids])

    def tagged(self) -> dict[str, dict[str, list[str]]]:
        """Return the ids of the rows by tag and value."""
        found: dict[str, dict[str, list[str]]] = {}
        for name, row in self.rows.items():
            for tag, value in row.tags.items():
                found.setdefault(tag, {}).setdefault(value, []).append(name)
        return found

    def json(self) -> dict[str, Any]:
        """Return the scores as they are stored in `scores.json`, without the gate."""
        return {
            "version": VERSION,
            "run": self.run,
            "metrics": {name: _metric(name, *found) for name, found in self.metrics().items()},
            "tags": {
                tag: {
                    value: {name: {"value": v, "n": n} for name, (v, n) in self.metrics(ids).items()}
                    for value, ids in values.items()
                }
                for tag, values in self.tagged().items()
            },
            "rows": {name: asdict(row) for name, row in self.rows.items()},
            "missing": self.missing,
            "extra": self.extra,
            "conversations": self.conversations,
        }


def scored(
    rows: Sequence[Row], records: Sequence[Record], scorers: Mapping[str, Scorer], *, run: Mapping[str, Any]
) -> Scores:
    """Run every scorer on every record. A scorer that raises is an error of its row. The row is never left out."""
    known = {row.id: row for row in rows}
    judged = {record.id: _row(known[record.id], record, scorers) for record in records if record.id in known}
    return Scores(
        run=dict(run),
        rows={row.id: judged[row.id] for row in rows if row.id in judged},
        missing=[row.id for row in rows if row.id not in judged],
        extra=sorted({record.id for record in records} - set(known)),
    )


def means(conversations: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, int]]:
    """Return the mean of each figure, and the number of conversations that have it."""
    found: dict[str, list[float]] = {}
    for one in conversations:
        for name, value in one["values"].items():
            found.setdefault(name, []).append(value)
    return {name: (sum(values) / len(values), len(values)) for name, values in found.items()}


def _row(row: Row, record: Record, scorers: Mapping[str, Scorer]) -> RowScore:
    score = RowScore(digest=row.digest, tags=row.tags)
    score.trace_ids = [turn.trace_id for turn in record.turns if turn.trace_id]
    for name, scorer in scorers.items():
        try:
            score.values.update(_checked(scorer(row, record), score.values))
        except Exception as error:  # noqa: BLE001 - a scorer may be the project's code and raise anything
            score.errors[name] = type(error).__name__
    return score


class BadFigure(ValueError):
    """A scorer returned something that is not a figure, or a figure that another scorer already returned."""


def _checked(figures: Any, known: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the figures of a scorer as numbers. A boolean counts as 1 or 0."""
    found: dict[str, float | None] = {}
    for name, value in figures.items():
        if not isinstance(name, str) or name in known:
            raise BadFigure
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise BadFigure
        found[name] = None if value is None else float(value)
    return found


def _metric(name: str, value: float, count: int) -> dict[str, Any]:
    spec = metric(name)
    return {"value": value, "n": count, "better": spec.better, "unit": spec.unit}

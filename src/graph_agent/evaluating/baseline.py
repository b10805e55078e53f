"""The committed baseline: the metrics of the agent at the last review, and how far each of them may fall."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graph_agent.evaluating.errors import BadBaseline
from graph_agent.evaluating.metrics import Metric, metric
from graph_agent.evaluating.scores import Scores

Noise = Literal["exact", "interval"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The value of one metric, and its limits."""

    value: float
    n: int
    floor: float | None = None
    ceiling: float | None = None
    max_drop: float | None = None
    """None if drops do not count. Times and tokens have a ceiling instead."""

    def json(self) -> dict[str, float | int]:
        """Return the fields that are set."""
        named = {name: getattr(self, name) for name in ("value", "n", "floor", "ceiling", "max_drop")}
        return {name: one for name, one in named.items() if one is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The content of a baseline file."""

    dataset: str
    model: str
    graph: str | None
    noise: Noise
    """`exact`: answers are the same every time, so any drop counts. `interval`: a drop must be larger than chance."""

    metrics: Mapping[str, Limit]
    rows: Mapping[str, Mapping[str, Any]]
    """The `digest` and the `values` of each row, without times and tokens."""

    def text(self) -> str:
        """Return the text of the file. Each metric and each row has a separate line, so that a diff can be reviewed."""
        head = {"dataset": self.dataset, "model": self.model, "graph": self.graph, "noise": self.noise}
        metrics = {name: limit.json() for name, limit in self.metrics.items()}
        parts = [f'"{name}": {json.dumps(value)}' for name, value in head.items()]
        parts += [f'"{name}": {{\n{_lines(table)}\n  }}' for name, table in (("metrics", metrics), ("rows", self.rows))]
        return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def baseline_name(dataset: Path, model: str, graph: str | None, judge: str | None = None) -> str:
    """Return the file name of a dataset's baseline. There is one for each model, graph and judge."""
    parts = [dataset.stem, *([graph] if graph else []), model, *([f"by {judge}"] if judge else [])]
    return "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts) + ".json"


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        BadBaseline: there is no such file, or it is not a baseline.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return Baseline(**(value | {"metrics": {name: Limit(**one) for name, one in value["metrics"].items()}}))
    except FileNotFoundError:
        raise BadBaseline(f"there is no baseline {path}; graph-agent eval baseline writes it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadBaseline(
            f"{path} is not a baseline ({type(error).__name__}); graph-agent eval baseline writes it again"
        ) from None


def make_baseline(scores: Scores, *, noise: Noise, before: Baseline | None) -> Baseline:
    """Make a baseline that these scores pass. It keeps the limits of `before`, because a person may have set them."""
    limits = {}
    for name, (value, count) in scores.metrics().items():
        known = before.metrics.get(name) if before else None
        limits[name] = _limit(metric(name), round(value, 4), count, noise, known)
    return Baseline(
        dataset=scores.run["dataset"],
        model=scores.run["model"],
        graph=scores.run["graph"],
        noise=noise,
        metrics=limits,
        rows={name: {"digest": row.digest, "values": _kept(row.values)} for name, row in scores.rows.items()},
    )


def _limit(spec: Metric, value: float, count: int, noise: Noise, known: Limit | None) -> Limit:
    if spec.better == "lower":
        factor, least = (10.0, 20.0) if noise == "exact" else (3.0, 10.0)
        # Ceilings are generous, because times depend on the machine. The scripted model repeats passages, so its tokens
        # change with the documents.
        usual = max(least, factor * value) if spec.unit == "s" else (3.0 if noise == "exact" else 1.5) * value
        # A ceiling of 0 comes from runs that all failed, and nothing could be below it.
        kept = known.ceiling if known else None
        return Limit(value=value, n=count, ceiling=kept or round(usual, 2) or None)
    if known:
        return Limit(value=value, n=count, floor=known.floor, max_drop=known.max_drop)
    drop = 0.1 if spec.ranking else 0.0 if noise == "exact" or spec.never_worse or spec.steady else 0.1
    floor = value if spec.never_worse else max(0.0, value - (0.03 if spec.steady else 0.25))
    return Limit(value=value, n=count, floor=round(floor, 4), max_drop=drop)


def _kept(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items() if value is not None and name not in UNSTEADY}


UNSTEADY = frozenset({"first_token_seconds", "seconds", "input_tokens", "output_tokens"})
"""Figures that vary from run to run. They have a ceiling over all rows, and are not compared row by row."""


def _lines(table: Mapping[str, Any]) -> str:
    return ",\n".join(f"    {json.dumps(name)}: {json.dumps(one)}" for name, one in table.items())

"""The plan of one evaluation: its target, rows, limits and judge, and the paths of its baseline and reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from graph_agent.evaluating.baseline import baseline_name
from graph_agent.evaluating.records import Reuse
from graph_agent.evaluating.row_reader import read_rows
from graph_agent.evaluating.rows import Row, chosen
from graph_agent.evaluating.runner import Limits
from graph_agent.evaluating.scorers import Scorer
from graph_agent.evaluating.targets import LOCAL, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to evaluate, and how."""

    target: Target
    dataset: Path
    count: int | None = None
    """How many rows to ask. The default is all of them."""

    half: Literal["tuning", "held_out"] | None = None
    limits: Limits = field(default_factory=Limits)
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    """The project's scorers, in addition to the built-in ones."""

    judge: str | None = None
    """A model that judges what scorers cannot, as MLflow names it, or `local`."""

    conversations: int = 0
    """How many conversations to simulate with the judge's model."""

    baseline: Path | None = None
    """A baseline to use instead of the default one of the dataset."""

    declines_with: tuple[str, ...] = ()
    """Phrases with which the graph declines, in addition to those of each row and the usual ones."""

    to_baseline: str = "graph-agent eval baseline"
    """The command that writes the baseline of this plan."""

    reuse: Reuse = "stopped"
    """Which answers of an earlier evaluation to use again if nothing has changed since."""

    out: Path | None = None
    """The folder for records and reports. The default is the project's `evals/out`."""

    @property
    def sample(self) -> bool:
        """Whether rows are left out on purpose."""
        return self.count is not None or self.half is not None

    def rows(self) -> list[Row]:
        """Read the rows of the dataset to ask.

        Raises:
            BadDataset: a line of the dataset is not a row, or there are no rows.
        """
        rows = chosen(read_rows(self.dataset), count=self.count, half=self.half)
        return [row.declining_with(self.declines_with) for row in rows] if self.declines_with else rows

    @property
    def baseline_path(self) -> Path:
        """The baseline to compare with and to write.

        A mutant is compared with the baseline of the graph that it was made from. Each judge has a separate baseline,
        because judges differ in strictness.
        """
        return self.baseline or self._baseline(self.judge)

    @property
    def baseline_without_judge(self) -> Path:
        """The baseline of the same evaluation without its judge."""
        return self._baseline(None)

    def _baseline(self, judge: str | None) -> Path:
        target = self.target
        return target.project.baselines / baseline_name(self.dataset, target.model, target.graph, judge)

    @property
    def folder(self) -> Path:
        """The folder for records, scores and reports. A sample has a different folder than all rows."""
        target = self.target
        parts = [
            self.dataset.stem,
            target.asked,
            target.model,
            target.app or (target.url and target.place),
            self.judge and f"by {self.judge}",
            self.half,
            f"{self.count} rows" if self.count else None,
        ]
        name = "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts if part)
        return (self.out or target.project.out) / name

    def subject(self) -> dict[str, Any]:
        """Return what the records are about. Records of a different subject are not used again."""
        return {
            "dataset": self.dataset.stem,
            "model": self.target.model,
            "graph": self.target.asked,
            "place": self.target.place,
            "version": self.target.version(),
        }


def usual_limits(model: str, at_once: int | None, seconds: float | None) -> Limits:
    """Return the limits that suit a model.

    The local model gets one row at a time. Two rows at a time take as long in total, and may get different answers. On
    a busy machine the model can take minutes to read a prompt before its first byte.
    """
    at_once = at_once or (1 if model == LOCAL else 4)
    return Limits(at_once=at_once, seconds=seconds, silence=900.0 if model == LOCAL else 300.0)

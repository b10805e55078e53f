"""One evaluation from end to end: ask, score, compare, and write down what was found."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from graph_agent.evaluating.baseline import Baseline, baseline_name, made, read_baseline
from graph_agent.evaluating.errors import BadBaseline
from graph_agent.evaluating.gate import Verdict, judged
from graph_agent.evaluating.junit import junit
from graph_agent.evaluating.page import page
from graph_agent.evaluating.progress import Progress
from graph_agent.evaluating.prompts import prompts_of
from graph_agent.evaluating.records import Record, RecordsFile, Reuse
from graph_agent.evaluating.report import markdown
from graph_agent.evaluating.rows import Row, chosen, dataset_digest, read_rows
from graph_agent.evaluating.runner import Agent, Limits, ask_all
from graph_agent.evaluating.scorers import scorers
from graph_agent.evaluating.scores import Scores, scored
from graph_agent.evaluating.targets import LOCAL, SCRIPTED, Target
from graph_agent.settings import Settings

PAGE = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to evaluate."""

    target: Target
    dataset: Path
    count: int | None = None
    """Rows to take; all if not given."""

    half: Literal["tuning", "held_out"] | None = None
    limits: Limits = field(default_factory=Limits)
    judge: str | None = None
    """A model that judges what no scorer can, as MLflow names it, or `local`."""

    conversations: int = 0
    """How many to simulate with the judge's model."""

    baseline: Path | None = None
    """Another baseline than the dataset's own."""

    declines_with: tuple[str, ...] = ()
    """Wordings by which the graph declines, beside those of each row and the usual ones."""

    to_baseline: str = "graph-agent eval baseline"
    """The command that makes the baseline of this plan."""

    reuse: Reuse = "stopped"
    """Which answers of an earlier evaluation are taken where nothing has changed since."""

    out: Path | None = None
    """Where records and reports go; the project's own folder for them if not given."""

    @property
    def sample(self) -> bool:
        """Whether rows are left out on purpose."""
        return self.count is not None or self.half is not None

    def rows(self) -> list[Row]:
        """The dataset's rows that are to be asked.

        Raises:
            BadDataset: a line of the dataset is no row, or there are none.
        """
        rows = chosen(read_rows(self.dataset), count=self.count, half=self.half)
        return [row.declining_with(self.declines_with) for row in rows] if self.declines_with else rows

    @property
    def baseline_path(self) -> Path:
        """A mutant is judged by the baseline of what it was made of. Each judge has one: they differ in strictness."""
        target = self.target
        name = baseline_name(self.dataset, target.model, target.graph, self.judge)
        return self.baseline or target.project.baselines / name

    @property
    def folder(self) -> Path:
        """Where records, scores and reports go; those of a sample beside those of all rows."""
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
        return (self.out or target.project.out) / "-".join(
            "".join(c if c.isalnum() else "_" for c in part) for part in parts if part
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What came of a plan. `verdict` is None where there is no baseline yet."""

    plan: Plan
    rows: Sequence[Row]
    records: Sequence[Record]
    scores: Scores
    baseline: Baseline | None
    verdict: Verdict | None

    @property
    def no_baseline(self) -> str:
        """What is said in the place of a verdict where there is no baseline."""
        if reason := unfit(self):
            return f"There is no baseline yet, and these answers are none: {reason}."
        rows = "all rows" if self.plan.sample else "these answers"
        return f"There is no baseline to compare with yet. This makes one of {rows}: {self.plan.to_baseline}"


def usual_limits(model: str, at_once: int | None, seconds: float | None) -> Limits:
    """One row at a time for the local model: two take as long, slow each other down, and may answer otherwise.

    It reads a prompt for minutes beside other work.
    """
    at_once = at_once or (1 if model == LOCAL else 4)
    return Limits(at_once=at_once, seconds=seconds, silence=900.0 if model == LOCAL else 300.0)


def evaluate(plan: Plan, agent: Agent, progress: Progress) -> Evaluation:
    """Ask the agent every row of the plan and judge it. Blocks; writes nothing but records.

    Raises:
        BadDataset: a line of the dataset is no row.
        AgentUnreachable: nothing answers.
    """
    rows = plan.rows()
    # Before the asking: files that are edited meanwhile are not what was asked.
    about = subject(plan)
    file = RecordsFile(plan.folder / "records.jsonl", about, reuse=plan.reuse)
    records = asyncio.run(ask_all(rows, agent, file, limits=plan.limits, progress=progress))
    return judge(plan, rows, records, about)


def judge(plan: Plan, rows: Sequence[Row], records: Sequence[Record], about: Mapping[str, Any]) -> Evaluation:
    """Score records, and compare with the baseline where there is one. `about` is their `subject`."""
    prompts = prompts_of(plan.target.project.config, plan.target.graph)
    run = dict(about) | {
        "dataset_digest": dataset_digest(rows),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "sample": plan.sample,
    }
    return compared(plan, rows, records, scored(rows, records, scorers(prompts), run=run))


def compared(plan: Plan, rows: Sequence[Row], records: Sequence[Record], scores: Scores) -> Evaluation:
    """Scores beside the baseline: the judge's own, else the one without judges, which then lacks their metrics."""
    without = plan.target.project.baselines / baseline_name(plan.dataset, plan.target.model, plan.target.graph)
    own = plan.baseline is not None or plan.baseline_path.exists()
    path = plan.baseline_path if own or not plan.judge else without
    try:
        baseline = read_baseline(path)
    except BadBaseline:
        if path.exists():
            raise
        baseline = None
    verdict = None if baseline is None else judged(scores, baseline, sample=plan.sample)
    return Evaluation(plan=plan, rows=rows, records=records, scores=scores, baseline=baseline, verdict=verdict)


def with_conversations(evaluation: Evaluation, agent: Agent) -> Evaluation:
    """Have the judge's model talk with the agent, while it is served.

    Raises:
        EvalError: the judge or MLflow cannot be reached.
    """
    plan = evaluation.plan
    if plan.conversations and plan.judge:
        from graph_agent.evaluating.simulating import simulate

        held = simulate(
            evaluation.rows, agent, count=plan.conversations, judge=plan.judge, target=plan.target, limits=plan.limits
        )
        evaluation.scores.conversations = [asdict(one) for one in held]
        return compared(plan, evaluation.rows, evaluation.records, evaluation.scores)
    return evaluation


def with_judges(evaluation: Evaluation) -> Evaluation:
    """Have the plan's judge look at the answers too, and compare anew.

    Raises:
        EvalError: the judge or MLflow cannot be reached.
    """
    from graph_agent.evaluating.judging import judge_rows

    plan, scores = evaluation.plan, evaluation.scores
    if plan.judge is None or not evaluation.records:
        return evaluation
    settings = Settings.from_environment(None, config=plan.target.project.config)
    judge_rows(evaluation.rows, evaluation.records, scores, judge=plan.judge, settings=settings)
    return compared(plan, evaluation.rows, evaluation.records, scores)


def subject(plan: Plan) -> dict[str, Any]:
    """What the records are of: records of another subject are not gone on with."""
    return {
        "dataset": plan.dataset.stem,
        "model": plan.target.model,
        "graph": plan.target.asked,
        "place": plan.target.place,
        "version": plan.target.version(),
    }


def write(evaluation: Evaluation) -> Path:
    """Scores, Markdown, the HTML page and JUnit beside the records; the folder."""
    folder, scores, verdict = evaluation.plan.folder, evaluation.scores, evaluation.verdict
    folder.mkdir(parents=True, exist_ok=True)
    gate = None if verdict is None else verdict.json()
    text = json.dumps(scores.json() | {"gate": gate}, indent=1, ensure_ascii=False)
    (folder / "scores.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(
        markdown(scores, verdict, evaluation.baseline, evaluation.no_baseline), encoding="utf-8"
    )
    html = page(
        scores,
        verdict,
        evaluation.baseline,
        rows=evaluation.rows,
        records=evaluation.records,
        no_baseline=evaluation.no_baseline,
    )
    (folder / PAGE).write_text(html, encoding="utf-8")
    # Without a baseline there is no verdict, and an earlier one must not be taken for it.
    (folder / "junit.xml").unlink(missing_ok=True)
    if verdict is not None:
        (folder / "junit.xml").write_text(junit(scores, verdict), encoding="utf-8")
    return folder


def rewrite_baseline(evaluation: Evaluation) -> Path:
    """Make these scores the baseline.

    Raises:
        BadBaseline: rows are missing or were not answered at all, a scorer failed, or only a sample was asked: what
            was not judged cannot be one.
    """
    scores, path = evaluation.scores, evaluation.plan.baseline_path
    sample = "only a sample was asked; leave --rows and --half out" if evaluation.plan.sample else ""
    if reason := sample or unfit(evaluation):
        raise BadBaseline(f"the baseline was not rewritten: {reason}")
    exact = evaluation.plan.target.model == SCRIPTED and evaluation.plan.judge is None
    noise: Literal["exact", "interval"] = "exact" if exact else "interval"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made(scores, noise=noise, before=evaluation.baseline).text(), encoding="utf-8")
    return path


def unfit(evaluation: Evaluation) -> str:
    """Why these answers cannot be judged by; empty where they can. That they are a sample is another matter."""
    scores = evaluation.scores
    if scores.missing:
        return f"{len(scores.missing)} rows were not asked"
    if failed := sorted({scorer for row in scores.rows.values() for scorer in row.errors}):
        return f"scorers failed: {', '.join(failed)}"
    # A service that is down would be compared with itself from now on.
    if dead := [record.id for record in evaluation.records if record.last.status in ("none", "refused")]:
        return f"{len(dead)} rows got no response: {', '.join(dead[:5])}; see the report, and --fresh asks them again"
    return ""

"""Runs one evaluation from end to end: ask, score, judge, and compare with the baseline."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from graph_agent.evaluating.baseline import Baseline, read_baseline
from graph_agent.evaluating.errors import BadBaseline
from graph_agent.evaluating.gate import Verdict, compare
from graph_agent.evaluating.plan import Plan
from graph_agent.evaluating.progress import Progress
from graph_agent.evaluating.prompts import prompts_of
from graph_agent.evaluating.records import Record, RecordsFile
from graph_agent.evaluating.row_reasons import reasons
from graph_agent.evaluating.rows import Row, dataset_digest
from graph_agent.evaluating.runner import Agent, ask_all
from graph_agent.evaluating.scorers import scorers
from graph_agent.evaluating.scores import Scores, scored
from graph_agent.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of a plan. `verdict` is None where there is no baseline yet."""

    plan: Plan
    rows: Sequence[Row]
    records: Sequence[Record]
    scores: Scores
    baseline: Baseline | None
    verdict: Verdict | None

    @property
    def unfit(self) -> str:
        """Why these answers cannot become a baseline; empty where they can. A sample is not a reason here."""
        scores = self.scores
        if scores.missing:
            return f"{len(scores.missing)} rows were not asked"
        if failed := sorted({scorer for row in scores.rows.values() for scorer in row.errors}):
            return f"scorers failed: {', '.join(failed)}"
        # Otherwise a service that was down would be the standard for later evaluations.
        if dead := [record.id for record in self.records if record.last.status in ("none", "refused")]:
            return f"{len(dead)} rows got no response: {', '.join(dead[:5])}; see the report; --fresh asks them again"
        return ""

    @property
    def reasons(self) -> dict[str, str]:
        """Why rows fail, in one line for each, by their ids."""
        return reasons(self.scores, self.rows, self.records)

    @property
    def no_baseline(self) -> str:
        """The text that reports show instead of a verdict if there is no baseline."""
        if self.unfit:
            return f"There is no baseline yet, and these answers cannot become one: {self.unfit}."
        rows = "all rows" if self.plan.sample else "these answers"
        return f"There is no baseline to compare with yet. To make one from {rows}, run: {self.plan.to_baseline}"


def evaluate(plan: Plan, agent: Agent, progress: Progress) -> Evaluation:
    """Ask the agent every row of the plan, score the answers, and compare. This blocks, and only writes records.

    Raises:
        BadDataset: a line of the dataset is not a row.
        AgentUnreachable: nothing answers at the agent's address.
    """
    rows = plan.rows()
    # Taken before the rows are asked. The subject has a digest of the project's files, which may be edited meanwhile.
    subject = plan.subject()
    file = RecordsFile(plan.folder / "records.jsonl", subject, reuse=plan.reuse)
    records = asyncio.run(ask_all(rows, agent, file, limits=plan.limits, progress=progress))
    return score(plan, rows, records, subject)


def score(plan: Plan, rows: Sequence[Row], records: Sequence[Record], subject: Mapping[str, Any]) -> Evaluation:
    """Score the records of a `subject`, and compare with the baseline if there is one."""
    config = plan.target.project.config
    # A remote agent may belong to another project, and the current folder may have no graphs.
    prompts = prompts_of(config, plan.target.graph) if plan.target.here or config.is_file() else []
    run = dict(subject) | {
        "dataset_digest": dataset_digest(rows),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "sample": plan.sample,
        "answering": plan.target.answering(),
    }
    return compared(plan, rows, records, scored(rows, records, {**scorers(prompts), **plan.scorers}, run=run))


def compared(plan: Plan, rows: Sequence[Row], records: Sequence[Record], scores: Scores) -> Evaluation:
    """Compare scores with the baseline.

    If the judge has no baseline yet, the baseline without a judge is used. The judge's metrics then count as new.
    """
    own = plan.baseline is not None or plan.baseline_path.exists()
    path = plan.baseline_path if own else plan.baseline_without_judge
    try:
        baseline = read_baseline(path)
    except BadBaseline:
        if path.exists():
            raise
        baseline = None
    verdict = None if baseline is None else compare(scores, baseline, sample=plan.sample)
    return Evaluation(plan=plan, rows=rows, records=records, scores=scores, baseline=baseline, verdict=verdict)


def with_conversations(evaluation: Evaluation, agent: Agent) -> Evaluation:
    """Simulate conversations between the judge's model and the agent. The agent must still be running.

    Raises:
        EvalError: the judge or MLflow cannot be reached.
    """
    plan = evaluation.plan
    if plan.conversations and plan.judge:
        # Imported here because it needs MLflow, which takes seconds to import.
        from graph_agent.evaluating.simulated_users import simulate

        held = simulate(
            evaluation.rows, agent, count=plan.conversations, judge=plan.judge, target=plan.target, limits=plan.limits
        )
        evaluation.scores.conversations = [asdict(one) for one in held]
        return compared(plan, evaluation.rows, evaluation.records, evaluation.scores)
    return evaluation


def with_judges(evaluation: Evaluation) -> Evaluation:
    """Let the plan's judge score the answers too, and compare again.

    Raises:
        EvalError: the judge or MLflow cannot be reached.
    """
    # Imported here because it needs MLflow, which takes seconds to import.
    from graph_agent.evaluating.judge_runs import judge_rows

    plan, scores = evaluation.plan, evaluation.scores
    if plan.judge is None or not evaluation.records:
        return evaluation
    settings = Settings.from_environment(None, config=plan.target.project.config)
    judge_rows(evaluation.rows, evaluation.records, scores, judge=plan.judge, settings=settings)
    return compared(plan, evaluation.rows, evaluation.records, scores)

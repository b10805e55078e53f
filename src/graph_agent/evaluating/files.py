"""Writes the results of an evaluation: scores and reports in the folder of the records, and the baseline."""

import json
from pathlib import Path
from typing import Literal

from graph_agent.evaluating.baseline import make_baseline
from graph_agent.evaluating.errors import BadBaseline
from graph_agent.evaluating.evaluation import Evaluation
from graph_agent.evaluating.junit import junit
from graph_agent.evaluating.report import markdown
from graph_agent.evaluating.report_page import page
from graph_agent.evaluating.targets import SCRIPTED

PAGE = "report.html"
MARKDOWN = "report.md"


def write(evaluation: Evaluation) -> Path:
    """Write scores, Markdown, the HTML page and JUnit to the folder of the records, and return it."""
    folder, scores, verdict = evaluation.plan.folder, evaluation.scores, evaluation.verdict
    baseline, no_baseline = evaluation.baseline, evaluation.no_baseline
    folder.mkdir(parents=True, exist_ok=True)
    gate = None if verdict is None else verdict.json()
    text = json.dumps(scores.json() | {"gate": gate}, indent=1, ensure_ascii=False)
    (folder / "scores.json").write_text(text + "\n", encoding="utf-8")
    (folder / MARKDOWN).write_text(
        markdown(scores, verdict, baseline, no_baseline, evaluation.reasons), encoding="utf-8"
    )
    html = page(scores, verdict, baseline, rows=evaluation.rows, records=evaluation.records, no_baseline=no_baseline)
    (folder / PAGE).write_text(html, encoding="utf-8")
    # Without a baseline there is no verdict. An old file would look like one.
    (folder / "junit.xml").unlink(missing_ok=True)
    if verdict is not None:
        (folder / "junit.xml").write_text(junit(scores, verdict), encoding="utf-8")
    return folder


def rewrite_baseline(evaluation: Evaluation) -> Path:
    """Make these scores the baseline.

    Raises:
        BadBaseline: only a sample was asked, rows are missing or got no response, or a scorer failed.
    """
    scores, path = evaluation.scores, evaluation.plan.baseline_path
    sample = "only a sample was asked; omit --rows and --half" if evaluation.plan.sample else ""
    if reason := sample or evaluation.unfit:
        raise BadBaseline(f"the baseline was not written: {reason}")
    # Only the scripted model always gives the same answers, and a judge is never that consistent.
    exact = evaluation.plan.target.model == SCRIPTED and evaluation.plan.judge is None
    noise: Literal["exact", "interval"] = "exact" if exact else "interval"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make_baseline(scores, noise=noise, before=evaluation.baseline).text(), encoding="utf-8")
    return path

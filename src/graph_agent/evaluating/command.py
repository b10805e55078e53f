"""`graph-agent eval`: compares a project's agent with its committed baseline. See docs/evals.md."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from graph_agent.errors import AgentError
from graph_agent.evaluating import rows_from_traces
from graph_agent.evaluating.evaluation import Evaluation, evaluate, with_conversations, with_judges
from graph_agent.evaluating.files import MARKDOWN, PAGE, rewrite_baseline, write
from graph_agent.evaluating.judge_runs import check_judge
from graph_agent.evaluating.option_checks import check_dataset, check_served, check_target
from graph_agent.evaluating.options import parser, plan_of
from graph_agent.evaluating.plan import Plan
from graph_agent.evaluating.progress import progress
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.report import terminal
from graph_agent.evaluating.targets import Target, opened
from graph_agent.lazy import keep_mlflow_offline
from graph_agent.processes.shutdown import INTERRUPTED, exit_now
from graph_agent.settings import PREFIX, Settings

NO_EFFECT = {"HOST": "`eval serve` listens on 127.0.0.1 only", "MODEL": "`eval serve` uses the scripted model"}
"""Settings that `eval serve` does not honor, and why not."""


def main(arguments: Sequence[str]) -> int:
    """Run one command of the evaluation.

    The exit status is 0 if the gate passed or there is no baseline yet, 1 if the gate failed, and 2 if nothing could be
    evaluated.
    """
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["run", *arguments]
    options = parser().parse_args(arguments)
    keep_mlflow_offline()
    try:
        return RUNS[options.command](options)
    except AgentError as error:
        print(f"graph-agent eval: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run it again to continue", file=sys.stderr)
        return INTERRUPTED


def run_and_leave(arguments: Sequence[str]) -> NoReturn:
    """Run one command and end the process with its exit status.

    Otherwise the threads of the service and of native libraries would keep the process running, also after an error.
    """
    # MLflow would configure logging during its import, in the thread that happens to import it first.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    status = 2
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - `exit_now` below skips the interpreter's own report of the error
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    exit_now(status)


def evaluated(plan: Plan) -> Evaluation:
    """Ask, score, judge if the plan has a judge, and compare."""
    if plan.judge is not None:
        check_judge(plan.judge)
    # A wrong choice or a wrong dataset is reported before a model is loaded.
    check_target(plan.target)
    check_dataset(plan.dataset, plan.target.project.datasets)
    plan.rows()
    with opened(plan.target) as agent:
        if not plan.target.here:
            check_served(agent)
        evaluation = evaluate(plan, agent, progress())
        if plan.judge is not None:
            # Written now, so that the answers and their scores are kept if a judge or MLflow fails below.
            write(evaluation)
        evaluation = with_conversations(evaluation, agent)
    return with_judges(evaluation)


def _run(options: argparse.Namespace) -> int:
    evaluation = evaluated(plan_of(options))
    folder = write(evaluation)
    print(_told(evaluation, evaluation.no_baseline))
    if judge := evaluation.scores.run.get("judge"):
        run = evaluation.scores.run
        print(f"judged by {judge}: MLflow run {run['mlflow_run']}, dataset {run['mlflow_dataset']}")
    print(f"written to {_shown(folder)}; open {_shown(folder / PAGE)}")
    _add_to_github_summary(folder)
    if evaluation.scores.missing:
        print("the time limit was reached; run it again to continue", file=sys.stderr)
    if evaluation.verdict is None:
        # Without a baseline nothing can get worse. But an evaluation that could not become a baseline has failed.
        return 1 if evaluation.unfit else 0
    return 0 if evaluation.verdict.passed else 1


def _baseline(options: argparse.Namespace) -> int:
    evaluation = evaluated(plan_of(options))
    folder = write(evaluation)
    print(_told(evaluation, "This is the first baseline."))
    print(f"written to {_shown(folder)}; {_shown(folder / PAGE)} compares with the previous baseline")
    print(f"baseline written to {_shown(rewrite_baseline(evaluation))}; review its diff and commit it")
    return 0


def _serve(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(None, config=options.config, port=options.port)
    # Unset, it is memory: what a script says does not belong among the conversations of whoever tries it.
    stored = settings.store not in (None, "memory")
    target = Target(project=Project(config=settings.config), graph=options.graph, stored=stored)
    check_target(target)
    for name in ("HOST", "MODEL"):
        if os.environ.get(f"{PREFIX}{name}"):
            print(f"{PREFIX}{name} has no effect here: {NO_EFFECT[name]}", file=sys.stderr)
    with opened(target, port=settings.port) as agent:
        kept = "keeps conversations in the store of GRAPH_AGENT_STORE" if stored else "keeps conversations in memory"
        print(f"{agent.url} answers with the scripted model and {kept}; Ctrl-C stops it", flush=True)
        while True:
            time.sleep(3600)


RUNS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "baseline": _baseline,
    "serve": _serve,
    "add": rows_from_traces.run,
}


def _add_to_github_summary(folder: Path) -> None:
    """Append the Markdown report to the file that GitHub Actions shows on the page of the run."""
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write((folder / MARKDOWN).read_text(encoding="utf-8"))


def _told(evaluation: Evaluation, no_baseline: str) -> str:
    return terminal(evaluation.scores, evaluation.verdict, evaluation.baseline, no_baseline, evaluation.reasons)


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

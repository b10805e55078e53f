"""`graph-agent eval`: judge a project's agent against its committed baseline. See docs/evals.md."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from graph_agent.errors import AgentError
from graph_agent.evaluating.choices import baseline_command, check_dataset, check_served, check_target
from graph_agent.evaluating.errors import EvalError
from graph_agent.evaluating.evaluation import (
    PAGE,
    Evaluation,
    Plan,
    evaluate,
    rewrite_baseline,
    unfit,
    usual_limits,
    with_conversations,
    with_judges,
    write,
)
from graph_agent.evaluating.judging import check_judge
from graph_agent.evaluating.progress import progress
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.report import terminal
from graph_agent.evaluating.rows import HALVES
from graph_agent.evaluating.targets import ELSEWHERE, LOCAL, SCRIPTED, Target, is_address, opened
from graph_agent.late import without_usage_collection
from graph_agent.settings import Settings
from graph_agent.stopping import leave


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 when the gate is open or there is none yet, 1 when it is shut, 2 when nothing could be judged."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments.insert(0, "run")
    options = parser().parse_args(arguments)
    without_usage_collection()
    try:
        status: int = options.run(options)
    except AgentError as error:
        print(f"graph-agent eval: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run it again to go on", file=sys.stderr)
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="graph-agent eval", description="Judge the agent against its baseline.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="ask, score, compare; the default")
    _asking(run)
    run.add_argument("--mutation", metavar="NAME", help="judge a broken graph of evals/mutants/langgraph.json")
    run.set_defaults(run=_run)

    baseline = commands.add_parser("baseline", help="make the last evaluation the baseline, or a new one")
    _asking(baseline)
    baseline.set_defaults(run=_baseline, mutation=None)

    serve = commands.add_parser("serve", help="serve the agent over the scripted model, for other programs to ask")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--graph", metavar="NAME", help="the graph that answers when a request names none")
    serve.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")
    serve.set_defaults(run=_serve)

    from graph_agent.evaluating.harvest import add_arguments

    add_arguments(commands.add_parser("add", help="make a row of a stored trace"))
    return parser


def _asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", metavar="NAME", help="a dataset of evals/datasets, or a JSONL file")
    parser.add_argument("--model", help="scripted, local, or a model such as databricks:my-llm")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")
    parser.add_argument("--graph", metavar="NAME", help="a graph of langgraph.json; its first one if not given")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="an agent that is served already")
    where.add_argument("--app", metavar="NAME", help="a deployed app, asked with OAuth")
    parser.add_argument(
        "--declines-with", type=_wordings, metavar="A|B", help="wordings by which this graph declines, beside the usual"
    )
    parser.add_argument("--fresh", action="store_true", help="ask every row anew, whatever was asked before")
    parser.add_argument(
        "--rows", type=_count, metavar="N", help="only so many rows, always the same ones, of every kind"
    )
    parser.add_argument("--half", choices=HALVES, help="only one half of the set")
    parser.add_argument("--seconds", type=float, metavar="S", help="begin no row after so long; a rerun goes on")
    parser.add_argument("--judge", metavar="MODEL", help="openai:/model, databricks:/endpoint or local judges too")
    parser.add_argument("--conversations", type=_count, metavar="N", default=0, help="with a user the judge plays")
    parser.add_argument("--at-once", type=_count, metavar="N", help="rows asked at the same time")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where records and reports go (default: evals/out)")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="another baseline than the dataset's own")


def _wordings(text: str) -> list[str]:
    return [one.strip() for one in text.split("|") if one.strip()]


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")


def evaluated(plan: Plan) -> Evaluation:
    """Asked, scored, judged where the plan has a judge, and compared."""
    if plan.judge is not None:
        check_judge(plan.judge)
    # What is wrong with the choices or the dataset is said before a model is loaded.
    check_target(plan.target)
    check_dataset(plan.dataset, plan.target.project.datasets)
    plan.rows()
    with opened(plan.target) as agent:
        if not plan.target.here:
            check_served(agent)
        evaluation = evaluate(plan, agent, progress())
        if plan.judge is not None:
            # What judges or MLflow may yet fail at must not cost what was asked.
            write(evaluation)
        evaluation = with_conversations(evaluation, agent)
    return with_judges(evaluation)


def plan_of(options: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    elsewhere = options.url is not None or options.app is not None
    if options.url is not None and not is_address(options.url):
        raise EvalError("that URL is no address; give it as http://host:port")
    if options.conversations and not options.judge:
        raise EvalError("conversations are simulated by the judge's model; give --judge too")
    settings = Settings.from_environment(None, config=options.config)
    project = Project(config=settings.config)
    model = options.model or (ELSEWHERE if elsewhere else usual_model(project, settings))
    target = Target(
        project=project,
        model=model,
        graph=options.graph,
        mutation=options.mutation,
        url=options.url,
        app=options.app,
        traced=options.judge is not None,
    )
    return Plan(
        target=target,
        dataset=project.dataset(options.dataset, scripted=elsewhere or model == SCRIPTED),
        count=options.rows,
        half=options.half,
        limits=usual_limits(model, options.at_once, options.seconds),
        judge=options.judge,
        conversations=options.conversations,
        declines_with=tuple(options.declines_with or ()),
        to_baseline=baseline_command(options, target.place),
        baseline=options.baseline,
        # Whether an agent elsewhere has changed cannot be told from here.
        reuse="none" if options.fresh else "finished" if options.run is _baseline and not elsewhere else "stopped",
        out=options.out,
    )


def usual_model(project: Project, settings: Settings) -> str:
    """The scripted model where the project has one, else the configured model, else the local one."""
    return SCRIPTED if project.script else settings.model or LOCAL


def _run(options: argparse.Namespace) -> int:
    evaluation = evaluated(plan_of(options))
    folder = write(evaluation)
    print(terminal(evaluation.scores, evaluation.verdict, evaluation.baseline, evaluation.no_baseline))
    if judge := evaluation.scores.run.get("judge"):
        run = evaluation.scores.run
        print(f"judged by {judge}: MLflow run {run['mlflow_run']}, dataset {run['mlflow_dataset']}")
    print(f"written to {_shown(folder)}; open {_shown(folder / PAGE)}")
    _summarise(folder)
    if evaluation.scores.missing:
        print("the time was used up; run it again to go on", file=sys.stderr)
    if evaluation.verdict is None:
        # Nothing to fall behind yet; what could not be judged is no first evaluation either.
        return 1 if unfit(evaluation) else 0
    return 0 if evaluation.verdict.passed else 1


def _baseline(options: argparse.Namespace) -> int:
    evaluation = evaluated(plan_of(options))
    folder = write(evaluation)
    print(terminal(evaluation.scores, evaluation.verdict, evaluation.baseline, "This one is the first."))
    print(f"written to {_shown(folder)}; {_shown(folder / PAGE)} compares with the baseline before")
    print(f"rewritten: {_shown(rewrite_baseline(evaluation))}; review its diff and commit it")
    return 0


def _serve(options: argparse.Namespace) -> int:
    settings = Settings.from_environment(None, config=options.config)
    target = Target(project=Project(config=settings.config), graph=options.graph)
    check_target(target)
    with opened(target, port=options.port) as agent:
        print(f"{agent.url} answers with the scripted model; Ctrl-C stops it", flush=True)
        while True:
            time.sleep(3600)


def _summarise(folder: Path) -> None:
    """GitHub shows what is appended to this file on the run's page."""
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write((folder / "report.md").read_text(encoding="utf-8"))


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def run_and_leave(arguments: Sequence[str]) -> NoReturn:
    """Run the command and end the process with its exit status.

    Threads of the service and of native libraries would keep the interpreter open otherwise, after an error too.
    """
    # Else MLflow configures logging while it is imported, in whichever thread imports it first.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    status = 2
    try:
        status = main(arguments)
    except BaseException as error:
        if isinstance(error, SystemExit):
            status = int(error.code or 0)
        else:
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    leave(status)

"""`python -m evals`: judge the agent against the committed baseline. `make eval` calls it; see docs/evals.md."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from evals.choices import baseline_command, check_dataset, check_served, check_target
from evals.errors import EvalError
from evals.evaluation import (
    DATASETS,
    OUT,
    PAGE,
    Evaluation,
    Plan,
    evaluate,
    rewrite_baseline,
    unfit,
    usual_dataset,
    usual_limits,
    with_conversations,
    with_judges,
    write,
)
from evals.judging import check_judge
from evals.mutations import MUTATIONS
from evals.progress import progress
from evals.report import terminal
from evals.rows import HALVES
from evals.targets import ELSEWHERE, MUTANTS, SCRIPTED, Target, is_address, opened
from graph_agent.errors import AgentError
from graph_agent.late import without_usage_collection
from graph_agent.stopping import keep_watch, leave


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
        print(f"evals: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; run it again to go on", file=sys.stderr)
        return 130
    return status


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m evals", description="Judge the agent against its baseline.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="ask, score, compare; the default")
    _asking(run)
    run.add_argument("--mutation", choices=sorted(MUTATIONS), help="judge the flagship broken in this way")
    run.set_defaults(run=_run)

    baseline = commands.add_parser("baseline", help="make the last evaluation the baseline, or a new one")
    _asking(baseline)
    baseline.set_defaults(run=_baseline, mutation=None)

    serve = commands.add_parser("serve", help="serve the agent over the scripted model, for other programs to ask")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--graph", metavar="NAME")
    serve.set_defaults(run=_serve)

    from evals.harvest import add_arguments

    add_arguments(commands.add_parser("add", help="make a row of a stored trace"))
    return parser


def _asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", metavar="NAME", help="docs, smoke or a JSONL file")
    parser.add_argument("--model", help="scripted (default), local, or a model such as databricks:my-llm")
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
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=OUT, help="where records and reports go")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="another baseline than the dataset's own")
    parser.set_defaults(usual_out=OUT)


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
    check_dataset(plan.dataset, DATASETS)
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
        raise EvalError("conversations are simulated by the judge's model; give JUDGE too")
    model = options.model or (ELSEWHERE if elsewhere else SCRIPTED)
    target = Target(
        model=model,
        graph=options.graph,
        mutation=options.mutation,
        url=options.url,
        app=options.app,
        config=MUTANTS if options.mutation else Path("langgraph.json"),
        traced=options.judge is not None,
    )
    return Plan(
        target=target,
        dataset=usual_dataset(options.dataset, SCRIPTED if elsewhere else model),
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
    target = Target(graph=options.graph)
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


if __name__ == "__main__":
    # Else MLflow configures logging as it is imported, in whatever thread does that first.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    keep_watch()
    # Threads of the service and of native libraries would hold the interpreter open, after an error too.
    status = 2
    try:
        status = main()
    except BaseException as error:
        if isinstance(error, SystemExit):
            status = int(error.code or 0)
        else:
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    leave(status)

"""The command line of `graph-agent eval`, and the plan that it asks for."""

import argparse
import shlex
from pathlib import Path

from graph_agent.evaluating import rows_from_traces
from graph_agent.evaluating.errors import EvalError
from graph_agent.evaluating.plan import Plan, usual_limits
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.project_scorers import project_scorers
from graph_agent.evaluating.rows import HALVES
from graph_agent.evaluating.targets import ELSEWHERE, LOCAL, SCRIPTED, Target, is_address
from graph_agent.settings import Settings

OF_A_BASELINE = ("dataset", "model", "graph", "url", "app", "declines_with", "judge", "config", "baseline", "out")
"""Flags that say what a baseline is of and where it lies."""


def parser() -> argparse.ArgumentParser:
    """The command line. `command` is the name of the command that was chosen."""
    parser = argparse.ArgumentParser(
        prog="graph-agent eval",
        description="Judge the agent against its baseline. Without a COMMAND it runs `run`.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    run = commands.add_parser("run", help="ask every row, score the answers, compare with the baseline")
    _asking(run)
    run.add_argument("--mutation", metavar="NAME", help="judge a broken graph of evals/mutants/langgraph.json")
    baseline = commands.add_parser("baseline", help="make the last evaluation the baseline, or a new one")
    _asking(baseline)
    baseline.set_defaults(mutation=None)
    serve = commands.add_parser("serve", help="serve the agent with the scripted model, for other programs to ask")
    serve.add_argument("--port", type=int, default=8000, metavar="P", help="port to bind (default: 8000)")
    serve.add_argument("--graph", metavar="NAME", help="the graph that answers when a request names none")
    _config(serve)
    rows_from_traces.add_arguments(commands.add_parser("add", help="make a row of a stored trace"))
    return parser


def _asking(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", metavar="NAME", help="a dataset of evals/datasets, or a JSONL file")
    parser.add_argument(
        "--model",
        help="scripted, local, or a model such as databricks:my-llm "
        "(default: the project's scripted model, else GRAPH_AGENT_MODEL, else local)",
    )
    parser.add_argument("--graph", metavar="NAME", help="a graph of langgraph.json (default: its first one)")
    _config(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="an agent that is served already")
    where.add_argument("--app", metavar="NAME", help="a deployed app, asked with OAuth")
    parser.add_argument(
        "--declines-with", type=_wordings, metavar="A|B", help="wordings with which this graph declines"
    )
    parser.add_argument("--fresh", action="store_true", help="ask every row again, whatever was asked before")
    parser.add_argument("--rows", type=_count, metavar="N", help="only N rows of every kind, always the same ones")
    parser.add_argument("--half", choices=HALVES, help="only one half of the dataset")
    parser.add_argument("--seconds", type=float, metavar="S", help="begin no row after S seconds; a rerun continues")
    parser.add_argument("--judge", metavar="MODEL", help="judge with openai:/model, databricks:/endpoint or local too")
    parser.add_argument(
        "--conversations", type=_count, metavar="N", default=0, help="simulate N conversations with the judge's model"
    )
    parser.add_argument("--at-once", type=_count, metavar="N", help="rows to ask at the same time")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where records and reports go (default: evals/out)")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="another baseline than the dataset's own")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")


def _wordings(text: str) -> list[str]:
    return [one.strip() for one in text.split("|") if one.strip()]


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")


def plan_of(options: argparse.Namespace) -> Plan:
    """What the command line asks for.

    Raises:
        EvalError: the options do not fit together, or no dataset can be chosen.
        BadProjectFile: the project's own scorers do not load.
    """
    elsewhere = options.url is not None or options.app is not None
    if options.url is not None and not is_address(options.url):
        raise EvalError("--url is not an address; give it as http://host:port")
    if options.conversations and not options.judge:
        raise EvalError("--conversations needs --judge, whose model plays the user")
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
        scorers=project_scorers(project),
        judge=options.judge,
        conversations=options.conversations,
        declines_with=tuple(options.declines_with or ()),
        to_baseline=baseline_command(options, target.place),
        baseline=options.baseline,
        # Nothing here shows whether an agent elsewhere has changed.
        reuse="none" if options.fresh else "finished" if options.command == "baseline" and not elsewhere else "stopped",
        out=options.out,
    )


def usual_model(project: Project, settings: Settings) -> str:
    """The scripted model where the project has one, else the configured model, else the local one."""
    return SCRIPTED if project.script else settings.model or LOCAL


def baseline_command(options: argparse.Namespace, place: str) -> str:
    """The command that makes a baseline of all rows of what these options judge, to be copied into a shell.

    `place` is the address of an agent elsewhere, without the user and password that `options.url` may hold.
    """
    given = {name: getattr(options, name) for name in OF_A_BASELINE} | ({"url": place} if options.url else {})
    values = {name: "|".join(one) if isinstance(one, list) else one for name, one in given.items() if one}
    flags = [f"--{name.replace('_', '-')} {shlex.quote(str(one))}" for name, one in values.items()]
    return " ".join(["graph-agent eval baseline", *flags])

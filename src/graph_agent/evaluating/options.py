"""The command line of `graph-agent eval`, and the plan for its options."""

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
"""Flags that determine what a baseline is for, and its path."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line. `command` is the name of the chosen command."""
    parser = argparse.ArgumentParser(
        prog="graph-agent eval",
        description="Compare the agent with its baseline. The default COMMAND is `run`.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    run = commands.add_parser("run", help="ask every row, score the answers, compare with the baseline")
    _asking(run)
    run.add_argument("--mutation", metavar="NAME", help="evaluate a broken graph of evals/mutants/langgraph.json")
    baseline = commands.add_parser("baseline", help="write the baseline from the last evaluation, or from a new one")
    _asking(baseline)
    baseline.set_defaults(mutation=None)
    serve = commands.add_parser("serve", help="serve the agent with the scripted model, for use by other programs")
    serve.add_argument(
        "--port", type=_port, metavar="P", help="port to bind (default: GRAPH_AGENT_PORT, else 8000; 0: a free one)"
    )
    serve.add_argument("--graph", metavar="NAME", help="the graph that answers when a request names none")
    _config(serve)
    rows_from_traces.add_arguments(commands.add_parser("add", help="add a row from a stored trace"))
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
    where.add_argument("--url", help="the address of a running agent")
    where.add_argument("--app", metavar="NAME", help="a deployed app, called with OAuth")
    parser.add_argument("--declines-with", type=_wordings, metavar="A|B", help="phrases with which this graph declines")
    parser.add_argument("--fresh", action="store_true", help="ask every row again, even if it was asked before")
    parser.add_argument("--rows", type=_count, metavar="N", help="only N rows of all kinds, always the same ones")
    parser.add_argument("--half", choices=HALVES, help="only one half of the dataset")
    parser.add_argument("--seconds", type=float, metavar="S", help="start no row after S seconds; a rerun continues")
    parser.add_argument("--judge", metavar="MODEL", help="also judge with openai:/model, databricks:/endpoint or local")
    parser.add_argument(
        "--conversations", type=_count, metavar="N", default=0, help="simulate N conversations with the judge's model"
    )
    parser.add_argument("--at-once", type=_count, metavar="N", help="rows to ask at the same time")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where records and reports go (default: evals/out)")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="the baseline (default: the dataset's)")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="the list of graphs (default: langgraph.json)")


def _wordings(text: str) -> list[str]:
    return [one.strip() for one in text.split("|") if one.strip()]


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port number; use a number from 0 to 65535")


def plan_of(options: argparse.Namespace) -> Plan:
    """Return the plan for the options.

    Raises:
        EvalError: the options contradict each other, or no dataset can be chosen.
        BadProjectFile: the project's scorers do not load.
    """
    elsewhere = options.url is not None or options.app is not None
    if options.url is not None and not is_address(options.url):
        raise EvalError("--url is not an address; give it as http://host:port")
    if options.conversations and not options.judge:
        raise EvalError("--conversations needs --judge; the judge's model plays the user")
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
        # Nothing here shows whether a remote agent has changed, so a finished evaluation of it is not used again.
        reuse="none" if options.fresh else "finished" if options.command == "baseline" and not elsewhere else "stopped",
        out=options.out,
    )


def usual_model(project: Project, settings: Settings) -> str:
    """Return the scripted model if the project has one, else the configured model, else the local one."""
    return SCRIPTED if project.script else settings.model or LOCAL


def baseline_command(options: argparse.Namespace, place: str) -> str:
    """Return the shell command that writes the baseline for these options, from all rows.

    `place` is the address of a remote agent without the user and password that `options.url` may contain.
    """
    given = {name: getattr(options, name) for name in OF_A_BASELINE} | ({"url": place} if options.url else {})
    values = {name: "|".join(one) if isinstance(one, list) else one for name, one in given.items() if one}
    flags = [f"--{name.replace('_', '-')} {shlex.quote(str(one))}" for name, one in values.items()]
    return " ".join(["graph-agent eval baseline", *flags])

"""What a command line chooses, checked before a model is loaded; and the command that makes the baseline of it."""

import argparse
import shlex
from pathlib import Path

import httpx

from graph_agent.evaluating.errors import BadDataset, EvalError
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.runner import Agent
from graph_agent.evaluating.targets import LOCAL, SCRIPTED, Target
from graph_agent.manifest import read_manifest

INFO_SECONDS = 10.0


def check_target(target: Target) -> None:
    """See that model and graph may be what they say; an agent elsewhere is asked by `check_served`.

    Raises:
        EvalError: there is no such graph, or that is no model; the message names what there is.
        GraphNotLoaded: there is no list of graphs.
    """
    if not target.here:
        return
    provider, _, name = target.model.partition(":")
    if target.model not in (SCRIPTED, LOCAL) and not (provider and name):
        raise EvalError(
            f"{target.model!r} is no model; give --model as {SCRIPTED}, {LOCAL}, or a name with its provider such as "
            "databricks:my-llm"
        )
    if target.mutation is None:
        _known(target.graph, [spec.name for spec in read_manifest(target.manifest)])
    else:
        _known_mutation(target.mutation, target.project)


def check_served(agent: Agent) -> None:
    """See that an agent that is served has the graph to ask, where it tells its graphs.

    Raises:
        EvalError: it has other graphs.
    """
    try:
        answer = httpx.get(f"{agent.url}/agent/info", headers=dict(agent.headers), timeout=INFO_SECONDS)
        graphs = answer.json()["graphs"]
        names = [one if isinstance(one, str) else str(one["name"]) for one in graphs]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        # Other services do not tell; the rows will.
        return
    _known(agent.graph, names)


def _known(graph: str | None, names: list[str]) -> None:
    if graph is not None and graph not in names:
        raise EvalError(f"no graph named {graph!r}; give --graph as one of: {', '.join(names)}", param="graph")


def check_dataset(dataset: Path, folder: Path) -> None:
    """See that there is such a file; `folder` is where those that have names are.

    Raises:
        BadDataset: there is none; the message names those that there are.
    """
    if not dataset.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.jsonl")))
        raise BadDataset(f"there is no dataset {dataset}; give --dataset as one of: {known}; or as a file NAME.jsonl")


def _known_mutation(mutation: str, project: Project) -> None:
    if not project.mutants.is_file():
        raise EvalError(f"this project has no broken graphs; list them in {project.mutants}", param="mutation")
    names = [spec.name for spec in read_manifest(project.mutants)]
    if mutation not in names:
        raise EvalError(f"no broken graph named {mutation!r}; give --mutation as one of: {', '.join(names)}")


FLAGS = ("dataset", "model", "graph", "url", "app", "declines_with", "judge", "config", "baseline", "out")
"""Flags that say what a baseline is of and where it lies."""


def baseline_command(options: argparse.Namespace, place: str | None) -> str:
    """What makes a baseline of all rows of what these options judge, to be copied into a shell.

    `place` is the address of an agent elsewhere without the user and password that `options.url` may hold.
    """
    given = {name: getattr(options, name) for name in FLAGS} | ({"url": place} if options.url else {})
    values = {name: "|".join(one) if isinstance(one, list) else one for name, one in given.items() if one}
    flags = [f"--{name.replace('_', '-')} {shlex.quote(str(one))}" for name, one in values.items()]
    return " ".join(["graph-agent eval baseline", *flags])

"""Checks the choices of the command line before a model is loaded."""

from importlib.util import find_spec
from pathlib import Path

import httpx

from graph_agent.catalog.manifest import read_manifest
from graph_agent.evaluating.errors import BadDataset, EvalError
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.runner import Agent
from graph_agent.evaluating.targets import LOCAL, SCRIPTED, Target
from graph_agent.local.packages import INSTALL

INFO_SECONDS = 10.0


def check_target(target: Target) -> None:
    """Check the model and the graph of a target. For a remote agent, `check_served` checks the graph.

    Raises:
        EvalError: there is no such graph or model. The message lists the existing ones.
        GraphNotLoaded: there is no list of graphs.
    """
    if not target.here:
        return
    provider, _, name = target.model.partition(":")
    if target.model not in (SCRIPTED, LOCAL) and not (provider and name):
        raise EvalError(
            f"there is no model {target.model!r}; give --model as {SCRIPTED}, {LOCAL}, or a name with its provider such"
            " as databricks:my-llm"
        )
    if target.mutation is None:
        _check_graph(target.graph, [spec.name for spec in read_manifest(target.manifest)])
    else:
        _check_mutation(target.mutation, target.project)
    if target.model in (SCRIPTED, LOCAL) and find_spec("onnxruntime") is None:
        raise EvalError(
            f"the {target.model} model needs the packages of the local workspace: {INSTALL}; or choose another model "
            "with --model"
        )


def check_served(agent: Agent) -> None:
    """Check that a remote agent has the graph, if the agent lists its graphs.

    Raises:
        EvalError: the agent does not have this graph.
    """
    try:
        answer = httpx.get(f"{agent.url}/agent/info", headers=dict(agent.headers), timeout=INFO_SECONDS)
        graphs = answer.json()["graphs"]
        names = [one if isinstance(one, str) else str(one["name"]) for one in graphs]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        # Another kind of service. If it does not have the graph, the first row will fail.
        return
    _check_graph(agent.graph, names)


def _check_graph(graph: str | None, names: list[str]) -> None:
    if graph is not None and graph not in names:
        raise EvalError(f"there is no graph {graph!r}; give --graph as one of: {', '.join(names)}", param="graph")


def _check_mutation(mutation: str, project: Project) -> None:
    if not project.mutants.is_file():
        raise EvalError(f"this project has no broken graphs; list some in {project.mutants}", param="mutation")
    names = [spec.name for spec in read_manifest(project.mutants)]
    if mutation not in names:
        raise EvalError(
            f"there is no broken graph {mutation!r}; give --mutation as one of: {', '.join(names)}", param="mutation"
        )


def check_dataset(dataset: Path, folder: Path) -> None:
    """Check that the file exists. `folder` contains the datasets that can be given by name.

    Raises:
        BadDataset: it does not exist. The message lists the existing datasets.
    """
    if not dataset.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.jsonl"))) or "none yet"
        raise BadDataset(
            f"there is no dataset {dataset}; give --dataset one of the names in {folder} ({known}) or a file NAME.jsonl"
        )
